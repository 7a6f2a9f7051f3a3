#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Nothing that a run did not make is written without --destructive: every kind of target, over files
and disks of known contents, in all forms of reading and of writing; and what others use is refused."""

import contextlib
import json
import os
import pathlib
import random
import stat

import nbd_test
import ublk
from ublk import SERVER, UBLKBENCH, run, sparse_file, succeed

LOAD = ublk.BUILD / "bench/tools/ublk-load"
SIZE = 8 << 20
QUICK = ("--ios", "500", "--warmup", "50", "--repeat", "1", "--control", "none", "--qd", "8")
FAULT = "+fault:delay=1us"
PORT = 10898
CONTENTS = random.Random(15).randbytes(SIZE)


class Data:
    """Files or disks with known contents."""

    def __init__(self, *paths):
        self.paths = [str(path) for path in paths]
        self.restore()

    def restore(self):
        for path in self.paths:
            with open(path, "r+b") as file:
                file.write(CONTENTS)
                file.flush()
                os.fsync(file.fileno())

    def unchanged(self):
        return all(pathlib.Path(path).read_bytes() == CONTENTS for path in self.paths)


class Safety(ublk.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(ublk.scratch_folder())

    def file(self, name):
        return sparse_file(self.folder, name, SIZE)

    def disk(self, name):
        return self.enterContext(ublk.NullBlk(f"ublk_{name}", size=SIZE >> 20, memory_backed=1)).path

    def exits(self, code, says, *argv, timeout_s=170):
        done = run(*argv, timeout_s=timeout_s)
        self.assertEqual(done.returncode, code, f"{argv}\n{done.stdout}{done.stderr}")
        self.assertRegex(done.stdout + done.stderr, says)
        return done

    @contextlib.contextmanager
    def targets(self):
        """(spec, its data) of each kind of target that holds the user's data."""
        with contextlib.ExitStack() as stack:
            one = Data(self.file("one"))
            yield_these = [(f"loop:{one.paths[0]}", one)]
            disk = Data(self.disk("one"))
            yield_these.append((f"loop:{disk.paths[0]}", disk))
            striped = Data(self.file("two"), self.file("three"))
            yield_these.append((f"stripe:{','.join(striped.paths)}:chunk=20k", striped))
            disks = Data(self.disk("two"), self.disk("three"))
            yield_these.append((f"stripe:{','.join(disks.paths)}", disks))
            for number, where in enumerate(("socket", "tcp")):
                exported = Data(self.file(f"exported{number}"))
                if where == "socket":
                    serving, spec = nbd_test.nbdkit(self.folder, "file", exported.paths[0])
                else:
                    run("ip", "link", "set", "lo", "up")
                    serving = nbd_test.server("nbdkit", "-f", "-p", PORT, "-i", "127.0.0.1", "file",
                                              exported.paths[0], ready=lambda: nbd_test.listens(PORT))
                    spec = f"nbd:127.0.0.1:{PORT}"
                stack.enter_context(serving)
                yield_these.append((spec, exported))
            yield yield_these


@nbd_test.need("nbdkit")
class Matrix(Safety):
    READS = (
        ("--mode", "copy", "--mode", "auto_zc", "--rw", "randread,read", "--verify", "auto"),
        ("--buffered", "--mode", "batch"),
        ("--verify", "off"),
        ("--dry-run",),
        ("--dry-run", "--rw", "randwrite", "--destructive"),
    )
    WRITES = (("--rw", "randwrite"), ("--rw", "write"), ("--rw", "rw"), ("--rw", "randread,randrw"),
              ("--verify", "on"), ("--verify",), ("--verify", "off", "--rw", "randwrite"),
              ("--rw", "randwrite", "--dry-run"))

    def test_reading_changes_nothing(self):
        with self.targets() as targets:
            for spec, data in targets:
                for words in self.READS:
                    with self.subTest(target=spec, words=words):
                        succeed(UBLKBENCH, "--target", spec, "--target", spec + FAULT, *QUICK, *words,
                                timeout_s=170)
                        self.assertTrue(data.unchanged())

    def test_what_was_not_verified_is_said(self):
        data = Data(self.file("disk"))
        record = self.folder / "run.json"
        for words, column, why in (((), r"not \(needs --destructive\)", "needs --destructive"),
                                   (("--verify", "off"), "off", "off")):
            done = run(UBLKBENCH, "--target", f"loop:{data.paths[0]}", *QUICK, *words, "--json", record)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"(?m)^copy .* " + column + "$")
            document = json.loads(record.read_text())
            self.assertEqual(document["samples"][0]["not_verified"], why)
            self.assertNotIn("verify", document["samples"][0])
            self.assertEqual((document["cells"][0]["data"], document["cells"][0]["read_only"]), ("user", False))

    def test_dry_run_says_what_is_written(self):
        path = self.file("disk")
        for words, says in (((), "only reads; not verified: needs --destructive"),
                            (("--destructive",), rf"verification writes to loop:{path}, NOT made by this run"),
                            (("--destructive", "--rw", "write"), "verification and load write to loop:")):
            self.exits(0, says, UBLKBENCH, "--dry-run", "--target", f"loop:{path}", *words)
        self.exits(0, "verification writes to mem:8M, made by this run", UBLKBENCH, "--dry-run",
                   "--target", "mem:8M")

    def test_writing_is_refused_by_name(self):
        with self.targets() as targets:
            for spec, data in targets:
                for suffix in ("", FAULT):
                    for words in self.WRITES if suffix == "" else self.WRITES[:1] + self.WRITES[4:5]:
                        with self.subTest(target=spec + suffix, words=words):
                            done = self.exits(2, "allow it with --destructive", UBLKBENCH, "--target",
                                              spec + suffix, *QUICK, *words)
                            self.assertIn(spec + suffix, done.stderr)
                            self.assertTrue(data.unchanged())
                    self.exits(2, "allow it with --destructive", UBLKBENCH, "--target", "mem:8M",
                               "--target", spec + suffix, "--rw", "write", *QUICK)
                    self.assertTrue(data.unchanged())

    def test_with_destructive_it_is_written(self):
        with self.targets() as targets:
            for spec, data in targets:
                for words in (("--rw", "randwrite", "--verify", "off"), ()):
                    with self.subTest(target=spec, words=words):
                        done = self.exits(0, "off" if words else "contents", UBLKBENCH, "--target", spec,
                                          *QUICK, *words, "--destructive")
                        self.assertNotIn("not (", done.stdout)
                        self.assertFalse(data.unchanged())
                        data.restore()

    def test_other_verbs(self):
        data = Data(self.file("disk"), self.file("disk2"))
        spec = f"stripe:{','.join(data.paths)}"
        work = ("--ios", "200", "--warmup", "20", "--control", "none")
        succeed(UBLKBENCH, "calibrate", "--target", spec, *work, "--repeat", "10")
        self.assertTrue(data.unchanged())
        self.exits(2, "--destructive", UBLKBENCH, "calibrate", "--target", spec, *work, "--rw", "randrw")
        # A program of an earlier version asks nobody: the gate has to.
        asked = self.folder / "asked"
        old = self.folder / "old"
        old.write_text(f'#!/bin/sh\necho "$@" >>{asked}\nexit 2\n')
        old.chmod(0o755)
        gate = (UBLKBENCH, "gate", "--against", old, "--")
        self.exits(2, "randwrite.*--destructive", *gate, "--target", spec, "--rw", "randwrite")
        self.assertFalse(asked.exists(), "the old program was started")
        self.exits(2, "left no record", *gate, "--target", spec)
        self.assertIn("--verify off", asked.read_text())
        self.assertTrue(data.unchanged())

    def test_devices_given_by_path(self):
        data = Data(self.disk("given"))
        (disk,) = data.paths
        for words in (("--device", disk), ("--control", disk, "--target", "mem:8M")):
            quick = [word for word in QUICK if word not in ("--control", "none")]
            if words[0] == "--device":
                quick += ["--control", "none"]
            succeed(UBLKBENCH, *quick, *words)
            self.assertTrue(data.unchanged())
            self.exits(2, f"{disk}.*--destructive", UBLKBENCH, *quick, *words, "--rw", "randwrite")
            self.assertTrue(data.unchanged())
        self.exits(0, disk, UBLKBENCH, *QUICK, "--device", disk, "--rw", "randwrite", "--destructive")
        self.assertFalse(data.unchanged())

    def test_resumed_without_the_word(self):
        data = Data(self.file("disk"))
        out = self.folder / "out"
        words = ("--target", f"loop:{data.paths[0]}", *QUICK, "--mode", "copy", "--mode", "auto_zc", "--out", out)
        succeed(UBLKBENCH, *words, "--destructive")
        self.assertFalse(data.unchanged())
        data.restore()
        lines = (out / "samples.jsonl").read_text().splitlines()
        (out / "samples.jsonl").write_text(lines[0] + "\n")
        resumed = run(UBLKBENCH, *words, "--resume")
        self.assertIn(resumed.returncode, (0, 2), resumed.stderr)
        self.assertTrue(data.unchanged())

    def test_ublk_load_by_itself(self):
        for data in (Data(self.file("disk")), Data(self.disk("load"))):
            (path,) = data.paths
            work = ("--ios", "200", "--depth", "8")
            succeed(LOAD, path, *work)
            for words in (("--rw", "randwrite", *work), ("--verify",), ("--verify", *work), ("--rw", "rw", *work)):
                self.exits(2, "--destructive", LOAD, path, *words)
            self.assertTrue(data.unchanged())
        precious = self.file("precious")
        before = pathlib.Path(precious).read_bytes()
        self.exits(2, rf"would overwrite {precious}", LOAD, self.file("disk"), "--ios", "200", "--buffer-file",
                   precious)
        self.exits(2, rf"{precious} has {SIZE} bytes", SERVER, "add", "-m", "shmem_zc", "--shared-memory", precious)
        self.assertTrue(pathlib.Path(precious).read_bytes() == before)


class ReadOnly(Safety):
    """What cannot be written is read-only, and neither failed nor refused for it."""

    def check(self, spec, *data):
        done = self.exits(0, r"(?m)^copy .* not \(read-only\)$", UBLKBENCH, "--target", spec, *QUICK,
                          "--destructive")
        self.assertNotIn("FAILED", done.stdout)
        for words in (("--rw", "randwrite"), ("--verify", "on")):
            self.exits(2, "is read-only", UBLKBENCH, "--target", spec, *QUICK, *words, "--destructive")
        with ublk.Device("-t", spec) as device:
            self.assertEqual(pathlib.Path(f"/sys/block/ublkb{device.id}/ro").read_text(), "1\n")

    def test_file_that_nobody_may_change(self):
        path = self.file("disk")
        succeed("chattr", "+i", path)
        try:
            self.check(f"loop:{path}")
            self.check(f"stripe:{path},{self.file('disk2')}")
        finally:
            succeed("chattr", "-i", path)

    def test_disk(self):
        disk = self.disk("fixed")
        succeed("blockdev", "--setro", disk)
        self.check(f"loop:{disk}")

    @nbd_test.need("nbdkit")
    def test_export(self):
        serving, spec = nbd_test.nbdkit(self.folder, "-r", "memory", "64M")
        with serving:
            self.check(spec)


class InUse(Safety):
    def refused(self, path, says, *, disk=False):
        """By every program that could write to it."""
        said = f"{path}.*{says}"
        self.exits(2, said, SERVER, "add", "-t", f"loop:{path}")
        for words in ((), ("--destructive",), ("--rw", "randwrite", "--destructive")):
            self.exits(2, said, UBLKBENCH, "--target", f"loop:{path}", *QUICK, *words)
        other = self.disk("other") if disk else self.file("other")
        self.exits(2, said, SERVER, "add", "-t", f"stripe:{other},{path}")
        self.exits(2, said, LOAD, path, "--verify", "--destructive")
        self.exits(2, said, LOAD, path, "--rw", "randwrite", "--ios", "10", "--destructive")
        # Of a regular file --device says just that.
        said = said if stat.S_ISBLK(os.stat(path).st_mode) else f"{path}.*no block device"
        self.exits(2, said, UBLKBENCH, "--device", path, *QUICK, "--rw", "randwrite", "--destructive")

    @contextlib.contextmanager
    def loop_device(self, path, *words):
        run("modprobe", "loop")  # a guest without systemd has no node that loads it
        device = ublk.loop_device(*words, path)
        try:
            yield device
        finally:
            succeed("losetup", "--detach", device)

    def test_file_behind_a_loop_device(self):
        path = self.folder / "image"
        path.write_bytes(CONTENTS)
        succeed("mkfs.ext4", "-q", "-F", path)
        other_name = self.folder / "hard-link"
        os.link(path, other_name)
        place = self.folder / "place"
        place.mkdir()
        with self.loop_device(path) as device:
            succeed("mount", device, place)
            try:
                before = pathlib.Path(path).read_bytes()
                for name in (path, other_name):
                    self.refused(name, f"loop device {device} has it")
                self.assertTrue(pathlib.Path(path).read_bytes() == before)
            finally:
                succeed("umount", place)
        with self.loop_device(path, "--read-only"):
            self.exits(0, r"not \(needs --destructive\)", UBLKBENCH, "--target", f"loop:{path}", *QUICK)
            self.exits(2, "has it", UBLKBENCH, "--target", f"loop:{path}", *QUICK, "--destructive")

    def test_swap_file(self):
        path = self.folder / "swap"
        path.write_bytes(CONTENTS)
        path.chmod(0o600)
        succeed("mkswap", path)
        succeed("swapon", path)
        try:
            self.refused(path, "it is in use as swap")
        finally:
            succeed("swapoff", path)

    def test_disk_that_is_mounted_or_held(self):
        disk = self.disk("used")
        place = self.folder / "place"
        place.mkdir()
        succeed("mkfs.ext4", "-q", "-F", disk)
        succeed("mount", disk, place)
        try:
            self.refused(disk, f"it is mounted on {place}", disk=True)
        finally:
            succeed("umount", place)

    def test_disk_with_a_loop_device(self):
        disk = self.disk("used")
        with self.loop_device(disk) as device:
            self.refused(disk, f"loop device {device} has it", disk=True)

    def test_disk_below_another(self):
        disk = self.disk("used")
        run("modprobe", "dm_mod")
        made = run("dmsetup", "create", "ublkbench", "--table", f"0 {SIZE // 512} linear {disk} 0")
        if made.returncode != 0:
            self.skipTest(f"no device mapper: {made.stderr.strip()}")
        try:
            self.refused(disk, "dm-[0-9]+ is on top of it", disk=True)
        finally:
            succeed("dmsetup", "remove", "--retry", "ublkbench")

    def test_what_another_device_serves(self):
        path = self.file("disk")
        other_name = self.folder / "hard-link"
        os.link(path, other_name)
        with ublk.Device("-t", f"loop:{path}"):
            for name in (path, other_name):
                self.refused(name, r"process [0-9]+ \(ublk-server\) has it open")
        with ublk.Device("-t", f"stripe:{path},{self.file('member')}"):
            self.exits(2, "ublk-server", SERVER, "add", "-t", f"loop:{path}")
        # Free again as soon as it is deleted.
        with ublk.Device("-t", f"loop:{other_name}"):
            pass

    def test_readers_may_share(self):
        path = self.file("disk")
        with ublk.Device("-t", f"loop:{path}", "--read-only"), ublk.Device("-t", f"loop:{path}", "--read-only"):
            self.exits(0, r"not \(needs --destructive\)", UBLKBENCH, "--target", f"loop:{path}", *QUICK)
            self.exits(2, "ha(s|ve) it open", UBLKBENCH, "--target", f"loop:{path}", *QUICK, "--destructive")
            self.exits(2, "ha(s|ve) it open", SERVER, "add", "-t", f"loop:{path}")

    def test_what_a_device_that_waits_for_a_server_has(self):
        path = self.file("disk")
        with ublk.Device("-t", f"loop:{path}", "--recovery", "reissue") as device:
            os.kill(device.server_pid, 9)
            ublk.wait_until(lambda: ublk.devices()[device.id]["state"] != "LIVE", "the server's end")
            said = rf"device {device.id} has the same data"
            self.exits(2, said, SERVER, "add", "-t", f"loop:{path}")
            self.exits(2, said, UBLKBENCH, "--target", f"loop:{path}", *QUICK)
            succeed(SERVER, "recover", "-n", device.id)
            succeed(SERVER, "upgrade", "-n", device.id)


if __name__ == "__main__":
    ublk.main()
