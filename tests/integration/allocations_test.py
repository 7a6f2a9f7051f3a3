#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The path of an I/O allocates nothing: ten times the I/Os, not one allocation more."""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

import ublk
from ublk import BUILD, LONG, SERVER, succeed

COUNTER = BUILD / "tests/integration/libcount_allocations.so"
LOAD = BUILD / "bench/tools/ublk-load"

MODES = ("copy", "get_data", "user_copy", "zc", "auto_zc", "shmem_zc", "mixed:64k", "batch", "batch,zc",
         "batch,auto_zc", "iopoll", "iopoll_split", "per_io_daemon", "offload", "batch,offload,zc")


@unittest.skipUnless(COUNTER.exists(), "a sanitizer has an allocator of its own")
class Allocations(ublk.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.file = pathlib.Path(folder) / "allocations"
        self.file.write_bytes(bytes(8))

    def count(self):
        return struct.unpack("Q", self.file.read_bytes())[0]

    def load(self, path, ios):
        succeed(LOAD, path, "--rw", "randrw", "--destructive", "--bs", "32k", "--depth", 16, "--ios", ios, "--no-latency")

    def check(self, mode, target):
        environment = dict(os.environ, LD_PRELOAD=str(COUNTER.resolve()), UBLKBENCH_ALLOCATIONS=str(self.file))
        with self.subTest(mode=mode, target=target):
            added = json.loads(succeed(SERVER, "add", "--json", "-m", mode, "-t", target, env=environment))
            try:
                self.load(added["block_device"], 300)
                before = self.count()
                self.assertGreater(before, 0, "the counter counts")
                self.load(added["block_device"], 10000 if LONG else 3000)
                self.assertEqual(self.count() - before, 0)
            finally:
                succeed(SERVER, "del", "-n", added["id"])

    def test_no_mode_allocates_per_io(self):
        for mode in MODES:
            for target in ("null", "mem:64M") if LONG else ("mem:64M",):
                self.check(mode, target)

    def test_no_target_allocates_per_io(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        members = [str(ublk.sparse_file(folder, f"member{number}", 32 << 20)) for number in range(3)]
        socket = folder / "socket"
        targets = [f"stripe:{','.join(members)}:chunk=4k",
                   "mem:64M+fault:delay=exp:1us@50%,error=EIO@0%,torn=512@0%"]
        if shutil.which("nbdkit"):
            serving = subprocess.Popen(["nbdkit", "-f", "-U", socket, "memory", "64M"])
            self.addCleanup(serving.wait)
            self.addCleanup(serving.kill)
            ublk.wait_until(socket.is_socket, "nbdkit listens")
            targets.append(f"nbd:unix:{socket}")
        for target in targets:
            for mode in ("copy", "batch,auto_zc"):
                self.check(mode, target)


if __name__ == "__main__":
    ublk.main()
