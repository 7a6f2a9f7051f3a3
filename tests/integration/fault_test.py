#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Faults reach the client as they were injected, in every buffer mode, and never with stale data."""

import contextlib
import errno
import mmap
import os
import signal
import subprocess
import time

import ublk
from ublk import Device, process_ended, succeed, wait_until
from zeroes_test import read_direct, write_direct

# The driver copies a read's data: it takes the head of a short one and asks for the rest.
RESUMING = ("copy", "get_data", "shmem_zc", "batch", "batch,shmem_zc")
# The driver cannot tell how much of the pages was filled: a short read must be an error.
FAILING = ("user_copy", "zc", "auto_zc", "mixed:64k", "mixed:4k", "batch,user_copy", "batch,zc",
           "batch,auto_zc", "batch,mixed:4k")
ALL = RESUMING + FAILING if ublk.LONG else ("copy", "batch,shmem_zc", "user_copy", "zc", "batch,auto_zc")
PATTERN = b"\x5a" * 65536


def read_with_poison(path, offset, size, poison=0xAA):
    """What a direct read returned, and the whole buffer afterwards."""
    buffer = mmap.mmap(-1, size)
    buffer.write(bytes([poison]) * size)
    disk = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        return os.preadv(disk, [buffer], offset), bytes(buffer)
    finally:
        os.close(disk)


def read_buffered(path, offset, size):
    """By way of the page cache, whose pages hold anything before they are read."""
    disk = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(disk, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(disk, size, offset)
    finally:
        os.close(disk)


class Faults(ublk.TestCase):
    def device(self, mode, faults, target="mem:16M", *arguments):
        return Device("-m", mode, "-t", f"{target}+fault:{faults}", "--no-partition-scan", *arguments)

    def errno_of(self, call, *arguments):
        with self.assertRaises(OSError) as caught:
            call(*arguments)
        return caught.exception.errno

    def test_short_reads(self):
        for mode in ALL:
            with self.subTest(mode=mode), \
                    self.device(mode, "short=4k@read@1M..15M,short=0@read@15M..16M") as device:
                for offset in range(1 << 20, (1 << 20) + 2 * 65536, 65536):
                    self.assertEqual(write_direct(device.path, offset, PATTERN), 65536)
                if mode in RESUMING:
                    self.assertEqual(read_with_poison(device.path, 1 << 20, 65536), (65536, PATTERN))
                    self.assertEqual(read_buffered(device.path, 1 << 20, 65536), PATTERN)
                else:
                    self.assertEqual(self.errno_of(read_with_poison, device.path, 1 << 20, 65536),
                                     errno.EIO)
                    # The page cache tries again, page by page; a page is served whole.
                    with contextlib.suppress(OSError):
                        self.assertEqual(read_buffered(device.path, 1 << 20, 65536), PATTERN)
                # What is served whole is not short.
                self.assertEqual(read_with_poison(device.path, 1 << 20, 4096),
                                 (4096, PATTERN[:4096]))
                # Of nothing served, nobody makes a success.
                self.assertEqual(self.errno_of(read_with_poison, device.path, 15 << 20, 16384),
                                 errno.EIO)

    def test_short_writes_are_errors_and_torn_ones_are_not(self):
        for mode in ALL:
            with self.subTest(mode=mode), \
                    self.device(mode, "short=4k@write@1M..2M,torn=4k@2M..3M") as device:
                self.assertEqual(self.errno_of(write_direct, device.path, 1 << 20, PATTERN),
                                 errno.EIO)
                self.assertEqual(write_direct(device.path, 2 << 20, PATTERN), 65536)
                for offset in (1 << 20, 2 << 20):
                    self.assertTrue(read_direct(device.path, offset, 65536) ==
                                    PATTERN[:4096] + bytes(65536 - 4096), "the head and no more")

    def test_errors_keep_their_names(self):
        names = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "ENODATA": errno.ENODATA,
                 "ETIMEDOUT": errno.ETIMEDOUT, "ENOLINK": errno.ENOLINK, "EILSEQ": errno.EILSEQ,
                 "EREMOTEIO": errno.EREMOTEIO}
        faults = ",".join(f"error={name}@{number}M..{number + 1}M"
                          for number, name in enumerate(names, 1))
        for mode in ("copy", "zc", "batch,user_copy", "batch,auto_zc"):
            with self.subTest(mode=mode), self.device(mode, faults) as device:
                for number, code in enumerate(names.values(), 1):
                    for call, argument in ((read_direct, 4096), (write_direct, PATTERN)):
                        self.assertEqual(
                            self.errno_of(call, device.path, number << 20, argument), code)
                self.assertEqual(write_direct(device.path, 9 << 20, PATTERN), 65536)

    def test_errors_at_a_rate_are_the_same_for_the_same_seed(self):
        def failures(seed):
            with self.device("copy", f"error=EIO@30%@read@1M..16M,seed={seed}") as device:
                failed = []
                for block in range(256, 512):
                    try:
                        read_direct(device.path, block * 4096, 4096)
                    except OSError:
                        failed.append(block)
                return failed
        first = failures(7)
        self.assertEqual(failures(7), first)
        self.assertNotEqual(failures(8), first)
        self.assertTrue(40 < len(first) < 115, len(first))

    def test_verification_sees_a_torn_write(self):
        with self.device("copy", "torn=4k@20%@1M..16M") as device:
            done = ublk.run("fio", "--name=torn", f"--filename={device.path}", "--rw=write",
                            "--bs=16k", "--size=4M", "--offset=1M", "--direct=1",
                            "--ioengine=io_uring", "--verify=crc32c", "--verify_state_save=0")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("verify", done.stdout + done.stderr)

    def test_delay_and_bandwidth(self):
        for mode in ("copy", "zc", "batch,auto_zc"):
            with self.subTest(mode=mode), self.device(mode, "delay=50ms@read@1M..2M") as device:
                began = time.monotonic()
                read_direct(device.path, 1 << 20, 4096)
                self.assertGreaterEqual(time.monotonic() - began, 0.05)
        with self.device("copy", "bandwidth=4M") as device:
            began = time.monotonic()
            for block in range(32):
                write_direct(device.path, block * 65536, PATTERN)
            self.assertGreaterEqual(time.monotonic() - began, 0.49)

    def test_a_tag_that_hangs_and_the_others_that_go_on(self):
        # Found by depth 1: then tag 0 is the only one, and the first request hangs.
        for mode in ("copy", "zc", "auto_zc"):
            with self.subTest(mode=mode):
                device = self.device(mode, "hang=1@read@1M..16M", "mem:16M", "-d", 2)
                clients = [subprocess.Popen(
                    ["dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1", "iflag=direct",
                     f"skip={256 + number}"], stderr=subprocess.DEVNULL) for number in range(12)]
                wait_until(lambda: sum(client.poll() is None for client in clients) == 1,
                           "all but one have ended")
                time.sleep(0.3)
                hanging, = [client for client in clients if client.poll() is None]
                os.kill(device.server_pid, signal.SIGKILL)
                self.assertNotEqual(hanging.wait(timeout=ublk.HANG_S), 0)
                self.assertEqual(sum(client.returncode == 0 for client in clients), 11)
                wait_until(lambda: device.id not in ublk.devices(), "supervisor removed the device")

    def test_the_server_dies_at_its_request(self):
        for mode in ("copy", "zc", "batch,auto_zc"):
            with self.subTest(mode=mode):
                device = self.device(mode, "die=200")
                served = 0
                with self.assertRaises(OSError):
                    for _ in range(200):
                        read_direct(device.path, 1 << 20, 4096)
                        served += 1
                self.assertGreater(served, 100, "some requests were the kernel's own")
                wait_until(lambda: process_ended(device.server_pid), "server process ended")
                wait_until(lambda: device.id not in ublk.devices(), "supervisor removed the device")

    def test_a_volatile_cache_loses_what_was_not_flushed(self):
        with ublk.scratch_folder() as folder:
            for mode in ("copy", "user_copy", "zc", "auto_zc", "batch,zc"):
                with self.subTest(mode=mode):
                    backing = ublk.sparse_file(folder, "backing", 16 << 20)
                    device = self.device(mode, "cache=volatile", f"loop:{backing}")
                    self.assertEqual(device.queue("write_cache"), "write back")
                    disk = os.open(device.path, os.O_WRONLY)
                    self.assertEqual(write_direct(device.path, 1 << 20, PATTERN), 65536)
                    os.fsync(disk)
                    self.assertEqual(write_direct(device.path, 2 << 20, PATTERN), 65536)
                    os.close(disk)
                    # A read across what is cached, what was flushed and what never was written.
                    self.assertTrue(read_direct(device.path, (1 << 20) - 4096, 65536 + 8192) ==
                                    bytes(4096) + PATTERN + bytes(4096))
                    self.assertTrue(read_direct(device.path, 2 << 20, 65536) == PATTERN)
                    os.kill(device.server_pid, signal.SIGKILL)
                    wait_until(lambda: device.id not in ublk.devices(), "device removed")
                    left = backing.read_bytes()
                    self.assertTrue(left[1 << 20:(1 << 20) + 65536] == PATTERN, "flushed: kept")
                    self.assertEqual(left.count(b"\x5a"), 65536, "not flushed: lost")
                    backing.unlink()

    def test_reads_verify_through_a_volatile_cache(self):
        for mode in ("copy", "zc", "batch,auto_zc"):
            with self.subTest(mode=mode), self.device(mode, "cache=volatile", "mem:32M") as device:
                succeed("fio", "--name=cache", f"--filename={device.path}", "--rw=randrw",
                        "--bsrange=4k-64k", "--size=16M", "--direct=1", "--ioengine=io_uring",
                        "--iodepth=16", "--thread", "--fsync=32", "--verify=crc32c",
                        "--verify_state_save=0")


if __name__ == "__main__":
    ublk.main()
