#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Discard and write-zeroes: the range reads as zeroes, its neighbours keep their bytes."""

import mmap
import os

import ublk
from ublk import MODES, Device, succeed

MEGABYTE = 1 << 20


def read_direct(path, offset, size):
    buffer = mmap.mmap(-1, size)
    disk = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        read = os.preadv(disk, [buffer], offset)
    finally:
        os.close(disk)
    return buffer[:read]


def write_direct(path, offset, data):
    buffer = mmap.mmap(-1, len(data))
    buffer.write(data)
    disk = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        return os.pwritev(disk, [buffer], offset)
    finally:
        os.close(disk)


class Zeroes(ublk.TestCase):
    def check(self, device, *blkdiscard):
        pattern = os.urandom(4096) * (MEGABYTE // 4096)
        for megabyte in range(3):
            self.assertEqual(write_direct(device.path, megabyte * MEGABYTE, pattern), MEGABYTE)
        succeed("blkdiscard", "-f", *blkdiscard, "-o", MEGABYTE + 8192, "-l", 65536, device.path)
        expected = bytearray(pattern)
        expected[8192:8192 + 65536] = bytes(65536)
        self.assertTrue(read_direct(device.path, MEGABYTE, MEGABYTE) == expected)
        for megabyte in (0, 2):
            self.assertTrue(read_direct(device.path, megabyte * MEGABYTE, MEGABYTE) == pattern)

    def each_mode(self, target):
        for mode in MODES:
            with self.subTest(mode=mode, target=target), \
                    Device("-m", mode, "-t", target) as device:
                self.check(device, "-z")
                if int(device.queue("discard_max_bytes")) > 0:
                    self.check(device)
                yield device

    def test_memory(self):
        for device in self.each_mode("mem:16M"):
            self.assertGreater(int(device.queue("discard_max_bytes")), 0)

    def test_loop_on_a_file(self):
        with ublk.scratch_folder() as folder:
            for device in self.each_mode(f"loop:{ublk.sparse_file(folder, 'backing', 16 << 20)}"):
                self.assertGreater(int(device.queue("discard_max_bytes")), 0)
                self.assertGreater(int(device.queue("write_zeroes_max_bytes")), 0)

    def test_loop_on_a_disk(self):
        for device in self.each_mode(f"loop:{ublk.scratch_disk(0)}"):
            self.assertGreater(int(device.queue("write_zeroes_max_bytes")), 0)

    def test_whole_device(self):
        with Device("-m", "batch,auto_zc", "-t", "mem:16M") as device:
            write_direct(device.path, 8 * MEGABYTE, b"x" * MEGABYTE)
            succeed("blkdiscard", "-f", device.path)
            self.assertFalse(any(read_direct(device.path, 8 * MEGABYTE, MEGABYTE)))


if __name__ == "__main__":
    ublk.main()
