# SPDX-License-Identifier: MIT
"""What the integration tests share: the programs, devices that clean up, scratch space.

A test file ends with `ublk.main()`. Without a ublk driver it fails, unless UBLKBENCH_ALLOW_NO_UBLK=1
says that this machine is known to have none; then ctest shows it as skipped.
"""

import contextlib
import glob
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("UBLKBENCH_BUILD", "build/release"))
SERVER = BUILD / "bench/tools/ublk-server"
UBLKBENCH = BUILD / "bench/tools/ublkbench"
LONG = os.environ.get("UBLKBENCH_LONG") == "1"
IN_VM = os.environ.get("UBLKBENCH_VM") == "1"

# Enough to compose every delivery and both ways to address data; modes_test.py runs all there are.
MODES = ("copy", "auto_zc", "batch", "batch,auto_zc")
FLAGS = {"auto_zc": "UBLK_F_AUTO_BUF_REG", "batch": "UBLK_F_BATCH_IO"}

SKIPPED = 77

# How long a test waits for what comes by itself: no claim about speed, and only a hang takes so long. What a test
# claims of time it measures against the test's own clock, from below.
HANG_S = 300


def run(*argv, timeout_s=HANG_S, **options):
    """The finished process with its output as text; never raises for an exit code."""
    return subprocess.run([str(word) for word in argv], capture_output=True, text=True,
                          timeout=timeout_s, stdin=subprocess.DEVNULL, **options)


def succeed(*argv, **options):
    done = run(*argv, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


def devices():
    """ublk-server list, by device number."""
    return {device["id"]: device for device in json.loads(succeed(SERVER, "list", "--json"))}


def wait_until(condition, what, timeout_s=HANG_S):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.05)
    return value


def let_others_run(seconds):
    """At least so long; longer where this process, too, gets little of a busy machine."""
    for _ in range(int(seconds * 100)):
        time.sleep(0.01)


def process_ended(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"


def catches(pid, signal_number):
    """Whether the process has installed a handler: before that a signal just kills it."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (signal_number - 1) & 1 == 1


class Device:
    """A device that `ublk-server add` made; removed at the end of the with block."""

    def __init__(self, *arguments):
        added = json.loads(succeed(SERVER, "add", "--json", *arguments))
        self.added = added
        self.id = added["id"]
        self.path = added["block_device"]
        self.server_pid = added["server_pid"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.id in devices():
            succeed(SERVER, "del", "-n", self.id)

    def queue(self, name):
        return pathlib.Path(f"/sys/block/ublkb{self.id}/queue/{name}").read_text().strip()


def scratch_disk(number):
    """The path of a scratch disk of scripts/vm, or a skipped test."""
    path = f"/dev/disk/by-ublkbench/scratch{number}"
    if not os.path.exists(path):
        raise unittest.SkipTest(f"no {path}: scripts/vm gives it with --disk SIZE")
    return path


@contextlib.contextmanager
def scratch_folder():
    """A folder on ext4 on a scratch disk (O_DIRECT as in life), else in the temporary folder."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ublkbench.")))
        if os.path.exists("/dev/disk/by-ublkbench/scratch1"):
            disk = scratch_disk(1)
            succeed("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard", disk)
            succeed("mount", disk, folder)
            stack.callback(succeed, "umount", folder)
        yield folder


def sparse_file(folder, name, size):
    path = pathlib.Path(folder) / name
    with open(path, "wb") as file:
        file.truncate(size)
    return path


@contextlib.contextmanager
def for_everyone(program):
    """A copy of a program that any user can run: a clone in somebody's home is closed to others."""
    with tempfile.TemporaryDirectory(prefix="ublkbench.") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(shutil.copy(program, folder))


class NullBlk:
    """A null_blk device with the given configfs attributes, removed at the end of the with block."""

    CONFIG = pathlib.Path("/sys/kernel/config")

    def __init__(self, name, **attributes):
        if not (self.CONFIG / "nullb").exists():
            succeed("modprobe", "null_blk", "nr_devices=0")
        if not (self.CONFIG / "nullb").exists():
            succeed("mount", "-t", "configfs", "none", self.CONFIG)
        self.folder = self.CONFIG / "nullb" / name
        self.path = f"/dev/{name}"
        self.folder.mkdir()
        try:
            for attribute, value in {"size": 64, "blocksize": 512, **attributes, "power": 1}.items():
                self.set(attribute, value)
            wait_until(lambda: os.path.exists(self.path), f"{self.path} appears")
        except Exception:
            self.folder.rmdir()
            raise

    def set(self, attribute, value):
        (self.folder / attribute).write_text(str(value))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.set("power", 0)
        self.folder.rmdir()


class TestCase(unittest.TestCase):
    """Checks after each test that no device and no server process is left."""

    def setUp(self):
        self.devices_before = set(devices())
        self.addCleanup(self.check_nothing_left)

    def check_nothing_left(self):
        left = set(devices()) - self.devices_before
        for number in left:
            run(SERVER, "del", "-n", number)
        self.assertEqual(left, set(), "devices left behind")
        # A client that creates its file makes one where a removed device was, and later I/O goes there.
        files = [path for path in glob.glob("/dev/ublkb*") if not stat.S_ISBLK(os.stat(path).st_mode)]
        for path in files:
            os.unlink(path)
        self.assertEqual(files, [], "a client wrote a file where a device was")


def loop_device(*words):
    """A loop device of losetup's, which does not load the module where /dev/loop-control is missing."""
    run("modprobe", "loop")
    return succeed("losetup", "--find", "--show", *words).strip()


def require_environment():
    if os.geteuid() != 0:
        sys.exit("integration tests need root")
    if not os.path.exists("/dev/ublk-control"):
        run("modprobe", "ublk_drv")
    if not os.path.exists("/dev/ublk-control"):
        if os.environ.get("UBLKBENCH_ALLOW_NO_UBLK") == "1":
            print("skipped: this machine has no ublk driver (UBLKBENCH_ALLOW_NO_UBLK=1)")
            sys.exit(SKIPPED)
        sys.exit("no ublk driver: run 'scripts/vm test', or allow it with UBLKBENCH_ALLOW_NO_UBLK=1")
    for program in ("fio", "mkfs.ext4", "blkdiscard"):
        if shutil.which(program) is None:
            sys.exit(f"integration tests need {program}")


def main():
    require_environment()
    unittest.main(argv=[*sys.argv, "--durations=5"], verbosity=2)
