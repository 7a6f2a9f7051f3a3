# SPDX-License-Identifier: MIT
"""Opening the running kernel or a memory dump: raw memory by drgn, types by BTF or DWARF, symbols by kallsyms."""

from __future__ import annotations

import errno
import logging
import os
import pathlib
import struct
import time
import typing

import drgn

from . import kallsyms
from .btf import Blob, BtfError
from .errors import CannotRead, Fault, NoDriver, errno_text
from .kallsyms import RememberedSymbols, Symbols, TableSymbols
from .kernel import Kernel, memory_clock_ns
from .kernel_users import MODULES
from .memory import Memory
from .type_finder import TypeFinder

BTF_FOLDER = pathlib.Path("/sys/kernel/btf")
NO_DRIVER_ADVICE = "load it with 'modprobe ublk_drv'"
if not hasattr(drgn.Program, "register_type_finder"):
    raise ImportError(f"version {getattr(drgn, '__version__', '?')} is too old, 0.0.31 will do", name="drgn")


def raw_memory(prog: drgn.Program) -> typing.Callable[[int, int], bytes]:
    def fetch(address: int, size: int) -> bytes:
        try:
            return bytes(prog.read(address, size))
        except (drgn.FaultError, OSError, ValueError, OverflowError):
            raise Fault(address) from None
    return fetch


def over(memory: Memory, platform: drgn.Platform) -> drgn.Program:
    """An empty program whose memory is `memory`."""
    prog = drgn.Program(platform)
    override_memory(prog, memory)
    return prog


def override_memory(prog: drgn.Program, memory: Memory) -> None:
    def read(address: int, count: int, _offset: int, _physical: bool) -> bytes:
        try:
            return memory.read(address, count)
        except Fault as fault:
            raise drgn.FaultError("page is not there", fault.address) from None
    prog.add_memory_segment(0, (1 << 64) - 1, read, False)


def read_blob(path: pathlib.Path, base: Blob | None = None) -> Blob:
    try:
        data = path.read_bytes()
    except OSError as error:
        advice = "the kernel needs CONFIG_DEBUG_INFO_BTF" if error.errno == errno.ENOENT else "run as root"
        raise CannotRead("open", str(path), errno_text(error), advice) from error
    return checked_blob(data, path.name, base)


def checked_blob(data: bytes, name: str, base: Blob | None = None) -> Blob:
    try:
        return Blob(data, name, base)
    except BtfError as error:
        raise CannotRead("read", f"the type information of {name}", str(error),
                         "take the file of exactly this kernel") from error


def attach_live(types: str = "auto", btf_path: str | None = None, dwarf_files: list[str] | None = None) -> Kernel:
    if not (pathlib.Path("/sys/module/ublk_drv").exists() or pathlib.Path("/dev/ublk-control").exists()):
        raise NoDriver("find", "the ublk driver", "it is not loaded", NO_DRIVER_ADVICE)
    raw = drgn.Program()
    try:
        raw.set_kernel()
    except OSError as error:
        raise CannotRead("open", "/proc/kcore", errno_text(error), open_advice(error)) from error
    except ValueError as error:
        raise CannotRead("open", "/proc/kcore", str(error), "the kernel needs CONFIG_PROC_KCORE") from error
    symbols = RememberedSymbols(kallsyms.live_symbols())
    memory = Memory(raw_memory(raw))
    if dwarf_files or (btf_path is None and types != "btf"):
        dwarf = given_dwarf(raw.platform, memory, dwarf_files) if dwarf_files else \
            dwarf_program(memory, lambda prog: prog.set_kernel())
        if dwarf:
            return live(Kernel(dwarf, memory, symbols, source="live", types_from="DWARF", release=os.uname().release))
        if types == "dwarf":
            raise CannotRead("load", "DWARF of the running kernel", "there is none",
                             "install the kernel's -dbg package, or leave --types away")
    vmlinux = read_blob(pathlib.Path(btf_path) if btf_path else BTF_FOLDER / "vmlinux")
    module = BTF_FOLDER / "ublk_drv"
    modules = [read_blob(module, vmlinux)] if module.exists() else []
    others = [read_blob(BTF_FOLDER / name, vmlinux) for name in MODULES if (BTF_FOLDER / name).exists()]
    return live(with_btf(raw, memory, symbols, vmlinux, modules, others, source="live", release=os.uname().release))


def open_advice(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        if os.geteuid() == 0:
            return "the kernel is locked down (lockdown=confidentiality) or the container has no CAP_SYS_RAWIO"
        return "run as root"
    return "the kernel needs CONFIG_PROC_KCORE"


def live(kernel: Kernel) -> Kernel:
    kernel.now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    require_driver(kernel)
    return kernel


def with_btf(raw: drgn.Program, memory: Memory, symbols: RememberedSymbols, vmlinux: Blob, modules: list[Blob],
             others: list[Blob], *, source: str, release: str) -> Kernel:
    assert raw.platform is not None
    prog = over(memory, raw.platform)
    finder = TypeFinder(prog, vmlinux, modules, others)
    return Kernel(prog, memory, symbols, source=source, types_from="BTF", release=release, finder=finder)


def given_dwarf(platform: drgn.Platform | None, memory: Memory, files: list[str]) -> drgn.Program:
    """Types out of files that the user names; they need not be where a debug package puts them."""
    logging.getLogger("drgn").setLevel(logging.CRITICAL)
    assert platform is not None
    prog = over(memory, platform)
    try:
        for number, file in enumerate(files):
            prog.extra_module(file, number, create=True).try_file(file, force=True)
    except (OSError, drgn.MissingDebugInfoError, ValueError) as error:
        raise CannotRead("load", " ".join(files), str(error).replace("\n", "; "), "") from error
    for name in ("struct request", "struct ublk_device"):
        try:
            prog.type(name)
        except LookupError:
            raise CannotRead("find", name, f"DWARF of {' '.join(files)} does not have it",
                             "give vmlinux and ublk_drv.ko, each with debug information") from None
    return prog


def dwarf_program(memory: Memory, set_target: typing.Callable[[drgn.Program], None]) -> drgn.Program | None:
    """A program with the types of installed debug information of kernel and driver, or None."""
    os.environ.pop("DEBUGINFOD_URLS", None)  # a wedged machine must not wait for a server
    logging.getLogger("drgn").setLevel(logging.CRITICAL)  # it warns of what is missing, which is the rule here
    prog = drgn.Program()
    set_target(prog)
    override_memory(prog, memory)
    try:
        prog.load_default_debug_info()
    except drgn.MissingDebugInfoError:
        pass
    try:
        prog.type("struct request")
        prog.type("struct ublk_device")
    except LookupError:
        return None
    return prog


def require_driver(kernel: Kernel) -> None:
    if kernel.symbols.address("ublk_index_idr") is None:
        if kernel.symbols.address("ublk_ctl_fops") or kernel.symbols.address("ublk_ctrl_uring_cmd"):
            raise CannotRead("find", "ublk_index_idr", "kallsyms has no data symbols",
                             "the kernel needs CONFIG_KALLSYMS_ALL")
        raise NoDriver("find", "the ublk driver", "it is not loaded", NO_DRIVER_ADVICE)
    try:
        kernel.layout("ublk_device")
        kernel.layout("request")
    except Exception as error:
        raise CannotRead("find", "struct ublk_device", str(error),
                         "the driver's BTF is missing or of another kernel") from error
    require_fit(kernel)


def require_fit(kernel: Kernel) -> None:
    """Types of another kernel give plausible nonsense; the first task's name and number are known."""
    try:
        task = kernel.variable("init_task")
        found = (task.text("comm"), task.get("pid")) if task else None
    except Exception as error:  # whatever damaged types lead to
        found = (str(error), None)
    if found != ("swapper/0", 0) and found != ("swapper", 0):
        raise CannotRead("check", "the type information", f"with it the first task reads as {found}",
                         "it is damaged or of another kernel")


def attach_vmcore(path: str, types: str = "auto", btf_path: str | None = None,
                  dwarf_files: list[str] | None = None) -> Kernel:
    raw = drgn.Program()
    try:
        raw.set_core_dump(path)
        info = raw["VMCOREINFO"].string_().decode("ascii", "replace")
    except OSError as error:
        raise CannotRead("open", path, errno_text(error), "") from error
    except (KeyError, ValueError, drgn.FaultError, Exception) as error:  # libkdumpfile has errors of its own
        raise CannotRead("open", path, str(error) or type(error).__name__,
                         "it must be an ELF or kdump file with VMCOREINFO") from error
    memory = Memory(raw_memory(raw))
    known = vmcoreinfo(info)
    try:
        builtin = kallsyms.BuiltinTables(memory, known[1], path).rows()
        symbols = RememberedSymbols(TableSymbols(builtin))
        if dwarf_files:
            given = Kernel(given_dwarf(raw.platform, memory, dwarf_files), memory, symbols, source="vmcore",
                           types_from="DWARF", release=known[0].get("OSRELEASE", "unknown"))
            return finish_core(given, builtin)
        return core_kernel(raw, memory, symbols, builtin, known[0], path, types, btf_path)
    except (Fault, struct.error, ValueError, IndexError) as error:
        raise CannotRead("read", path, str(error), "the dump is truncated or damaged") from error


def vmcoreinfo(text: str) -> tuple[dict[str, str], dict[str, int]]:
    """Plain words, and the addresses of SYMBOL(...) lines."""
    words = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    addresses = {key[7:-1]: int(value, 16) for key, value in words.items()
                 if key.startswith("SYMBOL(") and key.endswith(")")}
    return words, addresses


def core_kernel(raw: drgn.Program, memory: Memory, symbols: RememberedSymbols,
                builtin: list[tuple[int, str, str | None]], words: dict[str, str], path: str, types: str,
                btf_path: str | None) -> Kernel:
    from . import modules

    release = words.get("OSRELEASE", "unknown")
    if btf_path is None and types != "btf":
        dwarf = dwarf_program(memory, lambda prog: prog.set_core_dump(path))
        if dwarf:
            kernel = Kernel(dwarf, memory, symbols, source="vmcore", types_from="DWARF", release=release)
            return finish_core(kernel, builtin)
    vmlinux = read_blob(pathlib.Path(btf_path)) if btf_path else blob_in_memory(memory, symbols)
    first = with_btf(raw, memory, symbols, vmlinux, [], [], source="vmcore", release=release)
    blobs, others = ([checked_blob(data, name, vmlinux) for name in names
                      if (data := modules.btf_of_module(first, name))] for names in (("ublk_drv",), MODULES))
    kernel = with_btf(raw, memory, symbols, vmlinux, blobs, others, source="vmcore", release=release)
    return finish_core(kernel, builtin)


def finish_core(kernel: Kernel, builtin: list[tuple[int, str, str | None]]) -> Kernel:
    from . import modules

    symbols: Symbols = TableSymbols(builtin + modules.symbols(kernel))
    kernel.symbols = RememberedSymbols(symbols)
    kernel.now_ns = kernel.attempt("clock of the dump", lambda: memory_clock_ns(kernel), 0)
    require_driver(kernel)
    return kernel


def blob_in_memory(memory: Memory, symbols: Symbols) -> Blob:
    start, stop = symbols.address("__start_BTF"), symbols.address("__stop_BTF")
    if start is None or stop is None:
        raise CannotRead("find", "BTF in the dump", "__start_BTF has no symbol", "give the kernel's BTF with --btf")
    return checked_blob(memory.read(start, stop - start), "vmlinux")
