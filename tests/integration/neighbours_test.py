#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Others on the same machine: in another PID namespace, under another name, of another make. Nobody's device is taken
away, and what is left alone is named."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import ublk
from ublk import SERVER, UBLKBENCH, devices, process_ended, run, succeed, wait_until

# A container to our programs: its own process numbers, its own /proc and its own /run.
CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c",
             'mount -t tmpfs none /run && exec "$@"', "sh")
QUICK = ("--ios", "2000", "--warmup", "200", "--repeat", "1", "--mode", "copy", "--qd", "4")
BAD_SERVER = ublk.BUILD / "tests/hanglab/bad_server"
NULL_BLOCKS = pathlib.Path("/sys/kernel/config/nullb")


def holds_char_device(pid, number):
    for link in pathlib.Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == f"/dev/ublkc{number}":
                return True
    return False


def parent_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def space_of(pid):
    """What control::Stamp keeps of a process's PID namespace."""
    return int(os.readlink(f"/proc/{pid}/ns/pid").removeprefix("pid:[").removesuffix("]")) & 0x7fff


def stamp(pid, space):
    """control::encode(), of a process whose start time is not known."""
    return 0x7563 << 48 | pid << 26 | space


class Neighbours(ublk.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, *words):
        process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL, text=True)

        def end():
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=60)
        self.addCleanup(end)
        return process

    def new_device(self, condition=lambda device: device["state"] == "LIVE"):
        return wait_until(lambda: next((d for n, d in devices().items()
                                        if n not in self.devices_before and condition(d)), None), "a new device", 60)

    def serve(self, *words):
        """ublk-server add --foreground, called so; the process, and the device as list has it."""
        process = self.start(*words, "add", "--foreground", "-t", "mem:16M")
        self.assertIn("/dev/ublkb", process.stdout.readline())
        return process, self.new_device()

    def finish(self, process):
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def bench(self, *words):
        record = self.folder / "second.json"
        done = run(UBLKBENCH, *QUICK, *words, "--json", record, timeout_s=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual({sample["status"] for sample in json.loads(record.read_text())["samples"]}, {"ok"})
        return done.stderr

    def check_spared(self, device, why):
        """Neither a run nor del --orphans touches it, and both say why."""
        number = device["id"]
        said = succeed(SERVER, "del", "--orphans")
        self.assertRegex(said, rf"(?m)^device {number} left alone: {why}")
        self.assertRegex(self.bench("--control", "none"), rf"left alone.*[: ]{number} \({why}")
        after = devices()[number]
        self.assertEqual((after["state"], after["server_pid"]), (device["state"], device["server_pid"]))

    def test_another_pid_namespace(self):
        process, device = self.serve(*CONTAINER, SERVER)
        # Its number here, not what it is called there.
        self.assertTrue(holds_char_device(device["server_pid"], device["id"]), device)
        self.assertEqual(device["owner"], "in another PID namespace")
        self.check_spared(device, "made in another PID namespace")
        succeed("dd", f"if=/dev/ublkb{device['id']}", "of=/dev/null", "bs=64k", "count=4", "iflag=direct", "status=none")
        # From inside a container that of the machine is in another namespace.
        _, outer = self.serve_outside(device)
        inside = succeed(*CONTAINER, SERVER, "del", "--orphans")
        self.assertRegex(inside, rf"(?m)^device {outer['id']} left alone: made in another PID namespace")
        # What cannot be seen is not guessed.
        listed = {d["id"]: d for d in json.loads(succeed(*CONTAINER, SERVER, "list", "--json"))}
        self.assertEqual((listed[outer["id"]]["server_pid"], listed[outer["id"]]["server"]), (-1, "unknown"))
        self.assertEqual(devices()[outer["id"]]["state"], "LIVE")
        os.kill(parent_of(device["server_pid"]), signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, errors)

    def serve_outside(self, other):
        process = self.start(SERVER, "add", "--foreground", "-t", "null")
        self.assertIn("/dev/ublkb", process.stdout.readline())
        return process, self.new_device(lambda d: d["state"] == "LIVE" and d["id"] != other["id"])

    def test_a_device_that_is_not_live_yet(self):
        """Its maker is stopped; its server, which is not one yet, is gone: the device is dead, the maker is not."""
        _, device = self.serve(SERVER)
        os.kill(device["owner_pid"], signal.SIGSTOP)
        try:
            os.kill(device["server_pid"], signal.SIGKILL)
            dead = wait_until(lambda: (d := devices()[device["id"]])["state"] == "DEAD" and d, "the disk went away")
            self.check_spared(dead, f"process {device['owner_pid']}, which made it, lives")
        finally:
            os.kill(device["owner_pid"], signal.SIGCONT)
        wait_until(lambda: device["id"] not in devices(), "removed by its maker")

    def test_another_name(self):
        renamed = pathlib.Path(shutil.copy(SERVER, self.folder / "diskd"))
        process, device = self.serve(renamed)
        self.check_spared(device, rf"process {device['owner_pid']}, which made it, lives")
        code, _, errors = self.finish(process)
        self.assertEqual(code, 0, errors)

    def test_another_make(self):
        process = self.start(BAD_SERVER, "serve")
        self.assertIn("added", process.stdout.readline())
        device = self.new_device()
        self.check_spared(device, "not made by this suite")
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        dead = wait_until(lambda: (d := devices()[device["id"]])["state"] == "DEAD" and d, "the disk went away")
        self.check_spared(dead, "not made by this suite")
        succeed(SERVER, "del", device["id"])

    def test_kept_on_purpose(self):
        with ublk.Device("-t", "null", "--keep") as added:
            os.kill(added.server_pid, signal.SIGKILL)
            dead = wait_until(lambda: (d := devices()[added.id])["state"] == "DEAD" and d, "the disk went away")
            wait_until(lambda: process_ended(dead["owner_pid"]), "its supervisor ended")
            self.check_spared(dead, "it was added with --keep")

    def test_two_runs_at_once(self):
        for where in ((), CONTAINER):
            with self.subTest(container=bool(where)):
                record = self.folder / "first.json"
                first = self.start(*where, UBLKBENCH, "--mode", "copy", "--qd", "4", "--runtime", "6s", "--repeat", "1",
                                   "--target", "mem:16M", "--rw", "randrw", "--json", record)
                self.new_device()
                self.bench("--control", "null_blk")  # while the first verifies or measures
                output, errors = first.communicate(timeout=200)
                self.assertEqual(first.returncode, 0, output + errors)
                samples = json.loads(record.read_text())["samples"]
                self.assertEqual({sample["status"] for sample in samples}, {"ok"})
                self.assertIn("passed", {sample.get("verify", {}).get("status") for sample in samples})

    def test_null_blk_devices_of_other_namespaces(self):
        self.bench("--control", "null_blk")  # loads the module
        here = space_of("self")
        dead_pid = 4194303
        self.assertFalse(os.path.exists(f"/proc/{dead_pid}"))
        names = {"dead": stamp(dead_pid, here), "elsewhere": stamp(dead_pid, here ^ 1), "alive": stamp(os.getpid(), here)}
        folders = {key: NULL_BLOCKS / f"ublkbench-{bits:016x}-7" for key, bits in names.items()}
        folders["old"] = NULL_BLOCKS / "ublkbench-4194303-0"

        def remove(folder):
            if folder.exists():
                folder.rmdir()

        for folder in folders.values():
            folder.mkdir()
            self.addCleanup(remove, folder)
        said = self.bench("--control", "none")
        self.assertEqual({key for key, folder in folders.items() if folder.exists()}, {"elsewhere", "alive", "old"})
        self.assertIn("removed 1 null_blk device(s)", said)
        self.assertIn(f"left alone: {folders['elsewhere'].name} (made in another PID namespace)", said)
        self.assertIn(f"left alone: {folders['old'].name} (its name does not say who made it)", said)

    def test_an_orphan_goes(self):
        """The near-miss: the same device, once maker and server are gone."""
        process, device = self.serve(SERVER)
        process.kill()
        process.communicate()
        wait_until(lambda: process_ended(device["server_pid"]), "the server ended with its supervisor")
        wait_until(lambda: devices()[device["id"]]["state"] == "DEAD", "the disk went away")
        self.assertRegex(succeed(SERVER, "del", "--orphans"), rf"(?m)^device {device['id']} removed$")
        self.assertNotIn(device["id"], devices())

    def check_nothing_left(self):
        deadline = time.monotonic() + 20  # a container ends with its first process
        while set(devices()) - self.devices_before and time.monotonic() < deadline:
            time.sleep(0.1)
        super().check_nothing_left()


if __name__ == "__main__":
    ublk.main()
