# SPDX-License-Identifier: MIT
"""The command line of ublk-dump."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
import typing

from . import VERSION, errors
from .btf import BtfError
from .document import to_json
from .errors import BadUsage, DumpError
from .facts import Limits
from .model import Dump, Severity

if typing.TYPE_CHECKING:
    from .kernel import Kernel
    from .recording import Recorder

_EPILOG = """exit codes: 0 nothing is stuck; 1 something is, the verdict says what; 2 usage; 3 the kernel's memory or
types cannot be read; 4 partial (the end of the dump says what is missing); 5 no ublk driver

ublk-dump reads memory and opens no ublk device, so it returns on a machine where everything else hangs."""


class Parser(argparse.ArgumentParser):
    """One line on wrong usage, without the usage text around it."""

    def error(self, message: str) -> typing.NoReturn:
        raise BadUsage("parse", "the command line", message, "see ublk-dump --help")


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds")
    return value


def parser() -> Parser:
    """Also for scripts/make_manual.py."""
    parser = Parser(prog="ublk-dump", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
                    description="Says what hangs in ublk and whose turn it is, without debug information.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--vmcore", metavar="FILE", help="look at a memory dump instead of the running kernel")
    source.add_argument("--replay", metavar="FILE", help="look at a recording")
    parser.add_argument("-n", "--dev", type=int, metavar="ID", help="only the device with this number")
    parser.add_argument("--json", action="store_true", help="the whole dump as JSON")
    parser.add_argument("--record", metavar="FILE", help="keep what was read, for --replay and for bug reports (takes "
                        "types from BTF)")
    parser.add_argument("--watch", action="store_true", help="report when something gets stuck, or gets going again")
    parser.add_argument("--interval", type=positive, default=None, metavar="S",
                        help="between the two samples (0.5), or with --watch between looks (5)")
    parser.add_argument("--samples", type=int, choices=(1, 2), default=2,
                        help="2: only what stays the same is called stuck (default)")
    parser.add_argument("--age", type=positive, default=2.0, metavar="S",
                        help="younger requests are never stuck (2)")
    parser.add_argument("--slow", type=positive, default=30.0, metavar="S",
                        help="older ones are stuck even if the server's own I/O is in flight (30)")
    parser.add_argument("--all-tags", action="store_true", help="also list io commands with nothing to say about them")
    parser.add_argument("--types", choices=("auto", "btf", "dwarf"), default="auto",
                        help="auto: DWARF if it is installed, else BTF")
    parser.add_argument("--btf", metavar="FILE", help="BTF of the kernel, if it is not where it should be")
    parser.add_argument("--dwarf", metavar="FILE", action="append",
                        help="debug information to take types from; repeatable (vmlinux, ublk_drv.ko)")
    parser.add_argument("--timeout", type=positive, default=120.0, metavar="S",
                        help="reading memory once may take so long (120); then only what /proc and /sys tell is said")
    parser.add_argument("--version", action="version", version=f"ublk-dump {VERSION}")
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    options = parser().parse_args(arguments)
    check(options)
    if options.record:
        options.types = "btf"
    return options


def check(options: argparse.Namespace) -> None:
    """What does not go together, and what cannot be written; said before the dump, not instead of it."""
    if options.watch and (options.vmcore or options.replay):
        raise BadUsage("parse", "the command line", "--watch needs a running kernel", "leave --vmcore or --replay away")
    if options.dwarf and options.btf:
        raise BadUsage("parse", "the command line", "--dwarf and --btf are both given", "types come from one of them")
    if options.record and options.replay:
        raise BadUsage("parse", "the command line", "a recording is not recorded again", "copy the file")
    if options.record and (options.dwarf or options.types == "dwarf"):
        raise BadUsage("parse", "the command line", "a recording has its types from BTF, not from DWARF",
                       "leave --dwarf and --types away, or --record")
    if options.record:
        folder = os.path.dirname(os.path.realpath(options.record))
        if not os.access(folder, os.W_OK):
            raise BadUsage("write", options.record, f"{folder} is not a folder that can be written to", "name another")


def limits(options: argparse.Namespace) -> Limits:
    return Limits(int(options.age * 1e9), int(max(options.slow, options.age) * 1e9))


def look(kernel: Kernel, options: argparse.Namespace) -> Dump:
    """Samples a kernel and judges."""
    from .dump import take
    from .recording import Recorder
    from .verdict import judge

    recorder = Recorder(kernel) if options.record and kernel.finder else None
    count = 1 if kernel.source == "vmcore" else options.samples
    taken: list[Dump] = []
    for number in range(count):
        if number:
            time.sleep(0.5 if options.interval is None or options.watch else options.interval)
            kernel.memory.forget()
            kernel.now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        kernel.memory.bound.start(options.timeout)
        dump, stacks = take(kernel, options.all_tags)
        taken.append(dump)
        if recorder:
            recorder.add(stacks)
    if options.record:
        taken[-1].errors += keep(recorder, options.record)
    return judge(taken[-1], taken[0] if count > 1 else None, limits(options))


def keep(recorder: Recorder | None, path: str) -> list[str]:
    """Why there is no recording; that is no reason to keep the verdict back."""
    if recorder is None:
        return [f"no recording in {path}: this kernel has no BTF"]
    try:
        recorder.write(path)
    except errors.CannotRead as error:
        return [f"no recording: {error}"]
    return []


def replay(options: argparse.Namespace) -> Dump:
    from .dump import take
    from .recording import Replay
    from .verdict import judge

    recording = Replay(options.replay, options.dwarf)
    taken = [take(recording.kernel, options.all_tags, recording.select(number))[0]
             for number in range(len(recording.samples))]
    if not taken:
        raise errors.CannotRead("read", options.replay, "it has no sample", "the recording is damaged")
    return judge(taken[-1], taken[0] if len(taken) > 1 else None, limits(options))


def attach(options: argparse.Namespace) -> Kernel:
    from . import attach as attaching

    if options.vmcore:
        return attaching.attach_vmcore(options.vmcore, options.types, options.btf, options.dwarf)
    return attaching.attach_live(options.types, options.btf, options.dwarf)


def attach_for(options: argparse.Namespace) -> Kernel:
    """With --record by BTF; on a kernel that has only DWARF a verdict without a recording is better than none."""
    try:
        return attach(options)
    except errors.CannotRead:
        if not options.record:
            raise
        try:
            return attach(argparse.Namespace(**{**vars(options), "types": "dwarf"}))
        except errors.CannotRead:
            pass
        raise


def dump_of(options: argparse.Namespace) -> Dump:
    if options.replay:
        return replay(options)
    try:
        return look(attach_for(options), options)
    except (errors.CannotRead, ImportError) as error:
        reason = no_drgn(error) if isinstance(error, ImportError) else "" if options.btf else str(error)
        dump = without_memory(options, reason) if reason and not options.vmcore else None
        if dump is None:
            raise
        return dump


def without_memory(options: argparse.Namespace, reason: str) -> Dump | None:
    from . import fallback

    dump = fallback.without_memory(reason, options.dev)
    if dump and options.record:
        dump.errors.append(f"no recording in {options.record}: there is no memory to record")
    return dump


def no_drgn(error: ImportError) -> str:
    return f"import {error.name}: {error}: install the package python3-drgn"


def narrow(dump: Dump, options: argparse.Namespace) -> None:
    """Leaves one device. All are read, since one may wait for another."""
    from .verdict import only_device

    if options.dev is None or dump.source.access != "memory":
        return
    if all(device.id != options.dev for device in dump.devices) and not dump.errors:
        raise BadUsage("find", f"ublk device {options.dev}", "there is none", "ublk-dump without --dev shows all")
    only_device(dump, options.dev)


def show(dump: Dump, options: argparse.Namespace) -> None:
    if options.json:
        # Without indentation, and in one piece, C does it: a device can have 8 x 4096 tags.
        print(json.dumps(to_json(dump)))
    else:
        from .text import render

        sys.stdout.write(render(dump))
    sys.stdout.flush()


def watch(options: argparse.Namespace) -> int:
    """Prints a dump whenever the verdict changes. Ends by a signal."""
    kernel = attach(options)
    said: object = None
    while True:
        gc.collect()
        kernel.memory.forget()
        kernel.now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        try:
            dump = look(kernel, options)
        except errors.OutOfTime as error:
            print(f"ublk-dump: {error}", file=sys.stderr)
            continue
        narrow(dump, options)
        now = sorted({(row.code, row.device) for row in dump.findings
                      if row.severity in (Severity.DEFECT, Severity.HANG)}, key=str)
        if now != said:
            if now or said is not None or not options.json:
                show(dump, options)
            said = now
        time.sleep(5 if options.interval is None else options.interval)


def main(program: str, arguments: list[str]) -> int:
    gc.disable()  # a dump is short and makes a million small objects
    try:
        options = parse(arguments)
        if options.watch:
            return watch(options)
        dump = dump_of(options)
        narrow(dump, options)
        show(dump, options)
        return dump.verdict.exit_code
    except DumpError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except (BtfError, errors.MissingType) as error:
        print(f"{program}: read the type information: {error}: it is damaged or of another kernel", file=sys.stderr)
        return errors.EXIT_CANNOT_READ
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.EXIT_NOTHING
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        print(f"{program}: {no_drgn(error)}", file=sys.stderr)
        return errors.EXIT_CANNOT_READ
    except MemoryError:
        print(f"{program}: read memory: out of memory: take fewer devices with --dev", file=sys.stderr)
        return errors.EXIT_CANNOT_READ
    except Exception as error:  # a triage tool never answers with a traceback
        if os.environ.get("UBLK_DUMP_TRACEBACK") == "1":
            raise
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        place = f"{os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno}" if where else "?"
        print(f"{program}: decode the kernel's memory: {type(error).__name__}: {error} ({place}): a defect of "
              "ublk-dump, or memory that changed under it: try again, and report it with UBLK_DUMP_TRACEBACK=1",
              file=sys.stderr)
        return errors.EXIT_CANNOT_READ
