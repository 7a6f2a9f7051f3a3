# SPDX-License-Identifier: MIT
"""What hang lab cases share: servers that hang on purpose, clients, ublk-dump, and undoing all of it.

A case is a function that takes a Lab, makes one situation, and returns what ublk-dump must say. Each case leaves the
machine clean, except those marked `wedges`, which need a reboot and so come last.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

BUILD = pathlib.Path(os.environ.get("UBLKBENCH_BUILD", "build/release"))
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BAD_SERVER = BUILD / "tests/hanglab/bad_server"
OUR_SERVER = BUILD / "bench/tools/ublk-server"
KUBLK = pathlib.Path(os.environ.get("UBLKBENCH_KUBLK", "build/peers/kublk"))
DUMP = ROOT / "drgn/ublk-dump"
# Requests have to be older than --age; the lab does not want to wait for the two seconds of the default.
AGE_S = 1.0


@dataclasses.dataclass
class Expectation:
    """`code` None: nothing may be called stuck. `evidence` words must be in the finding's evidence."""

    device: int
    code: str | None
    evidence: tuple[str, ...] = ()
    also: tuple[str, ...] = ()  # further codes for the device, e.g. consequences
    options: tuple[object, ...] = ()  # for ublk-dump


@dataclasses.dataclass
class Case:
    name: str
    make: Callable[["Lab"], Expectation]
    title: str
    servers: tuple[str, ...] = ("bad",)
    wedges: bool = False
    alone: bool = False  # not beside others: it holds ublk_ctl_mutex, or takes every CPU


@dataclasses.dataclass
class Dumped:
    """What ublk-dump said, and what it took: seconds by the clock, MiB of memory at its peak."""

    document: dict[str, Any]
    exit_code: int
    seconds: float
    peak_mib: float


CASES: dict[str, Case] = {}


def case(title, **options):
    """Registers a case under the function's name."""
    def register(function):
        CASES[function.__name__] = Case(function.__name__, function, title, **options)
        return function
    return register


class CannotRun(Exception):
    """The case needs something that this machine lacks."""


def wait_until(condition, what, timeout_s=120):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.05)
    return value


def kill(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def state_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "-"


class Lab:
    """Everything that one case starts; undone in reverse when it ends."""

    def __init__(self, server="bad"):
        self.server = server
        self.undo = contextlib.ExitStack()
        self.devices = []  # removed after all processes are gone, or the removal would wait for them
        self.clients = []  # may wait for I/O that ends with the device
        self.folder = pathlib.Path(self.undo.enter_context(_temporary_folder()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.undo.close()
        for device in self.devices:
            self.remove(device)
        for client in self.clients:
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(5)

    def leave_it(self):
        """For a case that nothing but a reboot can undo."""
        self.undo.pop_all()
        self.devices.clear()
        self.clients.clear()

    def start(self, *argv, **options):
        process = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, text=True, **options)
        self.undo.callback(self._end, process)
        return process

    @staticmethod
    def _end(process):
        if process.poll() is None:
            kill(process.pid, signal.SIGCONT)
            kill(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        if process.stdout:
            process.stdout.close()

    def _end_client(self, client):
        """One that waits for its I/O cannot end yet."""
        if client.poll() is None:
            kill(client.pid)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: client.poll() is not None or state_of(client.pid) == "D", "the client ends", 5)

    def bad_server(self, *arguments, verb=("serve",), ready="ready", within=()):
        """A running bad_server and its device; waits for the line that begins with `ready`."""
        log = self.undo.enter_context((self.folder / f"server{len(self.devices)}.log").open("w"))
        process = self.start(*within, BAD_SERVER, *verb, *arguments, stdout=subprocess.PIPE, stderr=log)
        device = None
        for line in process.stdout:
            word, number = line.split()
            device = int(number)
            if word == "added" and device not in self.devices:
                self.devices.append(device)
            if word == ready:
                return process, device
        raise AssertionError(f"bad_server ended: {pathlib.Path(log.name).read_text()}")

    def our_server(self, *arguments):
        """ublk-server add; its device and the pid of the process that serves."""
        done = subprocess.run([str(OUR_SERVER), "add", "--json", *map(str, arguments)], capture_output=True, text=True,
                              timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"ublk-server add: {done.stderr}")
        added = json.loads(done.stdout)
        self.devices.append(added["id"])
        owner = pathlib.Path(f"/proc/{added['server_pid']}/stat").read_text().rsplit(")", 1)[1].split()[1]
        self.undo.callback(kill, int(owner))
        self.undo.callback(kill, added["server_pid"])
        self.undo.callback(kill, added["server_pid"], signal.SIGCONT)
        return added["server_pid"], added["id"]

    def kublk(self, *arguments):
        """The kernel's test server in the foreground; its device.

        Without the scan for partitions: it goes on after the disk has appeared, and its read would be in flight when a
        case kills the server, which the dump names, rightly, beside what the case is about.
        """
        if not KUBLK.exists():
            raise CannotRun(f"no {KUBLK}: scripts/compare-peers --prepare makes it; UBLKBENCH_KUBLK names another")
        before = devices()
        process = self.start(KUBLK, "add", "--foreground", "--no_auto_part_scan", *arguments, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        device = wait_until(lambda: devices() - before, "kublk's device").pop()
        self.devices.append(device)
        self.undo.callback(kill, process.pid)
        wait_until(lambda: pathlib.Path(f"/dev/ublkb{device}").exists(), "kublk's disk")
        # The disk is there before START_DEV returns; after its last control command kublk waits for its threads.
        wait_until(lambda: "futex" in pathlib.Path(f"/proc/{process.pid}/wchan").read_text(), "kublk has started")
        return process, device

    def any_server(self, *, bad=(), ours=("-t", "null"), kublk=("-t", "null")):
        """The server that this run is for: its pid and device."""
        if self.server == "ours":
            return self.our_server(*ours)
        if self.server == "kublk":
            process, device = self.kublk(*kublk)
            return process.pid, device
        process, device = self.bad_server(*bad)
        return process.pid, device

    def remove(self, device):
        """Takes a device away, whatever state it is in, without waiting for ever."""
        for verb in ("stop", "del_async"):
            process = subprocess.Popen([str(BAD_SERVER), "ctl", verb, str(device)], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                kill(process.pid)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)

    def keep(self, pid, path):
        """A process of another name that has the server's descriptor, too."""
        keeper = self.start("python3", ROOT / "tests/hanglab/keeper.py", pid, path, stdout=subprocess.PIPE)
        assert keeper.stdout.readline() == "kept\n"

    def control(self, verb, device, *data):
        """A control command in the background."""
        return self.start(BAD_SERVER, "ctl", verb, device, *data, stdout=subprocess.PIPE)

    def control_result(self, verb, device, *data):
        done = subprocess.run([str(BAD_SERVER), "ctl", verb, str(device), *map(str, data)], capture_output=True,
                              text=True, timeout=120)
        return done.stdout.strip()

    def read(self, device, *, skip=0, count=1, write=False):
        """A client with one direct I/O after another."""
        path = f"/dev/ublkb{device}"
        words = (["if=/dev/zero", f"of={path}", "oflag=direct", f"seek={skip}", "conv=notrunc,nocreat"] if write else
                 [f"if={path}", "of=/dev/null", "iflag=direct", f"skip={skip}"])
        client = subprocess.Popen(["dd", "bs=4k", f"count={count}", *words], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.clients.append(client)
        self.undo.callback(self._end_client, client)
        return client

    def blocked_read(self, device, **options):
        """A client that waits for its I/O."""
        client = self.read(device, **options)
        wait_until(lambda: state_of(client.pid) == "D" or client.poll() is not None, "client waits for its I/O")
        return client

    def dump(self, *arguments, timeout_s=900):
        """ublk-dump --json of the machine."""
        out, err = self.folder / "dump.json", self.folder / "dump.stderr"
        began = time.monotonic()
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(["python3", str(DUMP), "--json", "--age", str(AGE_S), *map(str, arguments)],
                                       stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
            try:
                _pid, status, usage = wait_until(lambda: (ended := os.wait4(process.pid, os.WNOHANG))[0] and ended,
                                                 "the end of ublk-dump", timeout_s)
            except AssertionError:
                process.kill()
                process.wait()
                raise
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if err.stat().st_size or not out.stat().st_size:
            raise AssertionError(f"ublk-dump said: {err.read_text()}")
        return Dumped(json.loads(out.read_text()), process.returncode, seconds, usage.ru_maxrss / 1024)


def devices():
    return {int(path.name[5:]) for path in pathlib.Path("/dev").glob("ublkc[0-9]*")}


@contextlib.contextmanager
def _temporary_folder():
    import tempfile

    with tempfile.TemporaryDirectory(prefix="hanglab.") as folder:
        yield folder


def check(document, exit_code, expected):
    """The sentence that says what is wrong, or an empty one."""
    of_device = [row for row in document["findings"] if row["device"] in (expected.device, None)]
    stuck = [row for row in of_device if row["severity"] in ("defect", "hang", "consequence")]
    codes = {row["code"] for row in stuck}
    if expected.code is None:
        return f"cries hang: {codes}" if codes else ""
    allowed = {expected.code, *expected.also}
    found = [row for row in of_device if row["code"] == expected.code]
    if not found:
        return f"expected {expected.code}, found {codes or 'nothing stuck'}"
    if codes - allowed:
        return f"beside {expected.code} also {codes - allowed}"
    if found[0] in stuck and exit_code != 1:
        return f"exit code is {exit_code}"
    text = " ".join(line for row in found for line in row["evidence"])
    absent = [word for word in expected.evidence if word not in text]
    return f"evidence lacks {absent}: {text}" if absent else ""
