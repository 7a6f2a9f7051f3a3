#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Host-managed zones, seen by tools that are not ours: blkzone, fio's zbd mode, and btrfs, whose data
goes by zone append."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import tempfile
import unittest

import ublk
from ublk import Device, run, succeed
from zeroes_test import read_direct, write_direct

MODES = ("user_copy", "zc", "batch,user_copy", "batch,zc") if ublk.LONG else ("user_copy", "batch,zc")
ZONE = 4 << 20


def zones(device, *options):
    """blkzone report as (start, length, capacity, write pointer, condition, type), in sectors."""
    rows = re.findall(r"start: 0x(\w+), len 0x(\w+), cap 0x(\w+), wptr 0x(\w+) reset:\d non-seq:\d,"
                      r" zcond:\s*\d+\((\w+)\) \[type: \d\((\w+)\)\]",
                      succeed("blkzone", "report", *options, device.path))
    return [(int(start, 16), int(length, 16), int(capacity, 16), int(pointer, 16), condition, kind)
            for start, length, capacity, pointer, condition, kind in rows]


class Zoned(ublk.TestCase):
    @contextlib.contextmanager
    def device(self, mode, target, *arguments):
        with self.subTest(mode=mode, target=target), \
                Device("-m", mode, "-t", target, *arguments) as device:
            yield device

    def test_what_the_block_layer_sees(self):
        for mode in MODES:
            with self.device(mode, "zoned:64M:zone=4M,conventional=1,max_open=3,max_active=5") as device:
                self.assertEqual(device.queue("zoned"), "host-managed")
                self.assertEqual(device.queue("nr_zones"), "16")
                self.assertEqual(device.queue("chunk_sectors"), str(ZONE >> 9))
                self.assertEqual(device.queue("max_open_zones"), "3")
                self.assertEqual(device.queue("max_active_zones"), "5")
                self.assertGreater(int(device.queue("zone_append_max_bytes")), 0)

    def test_report_open_close_finish_reset(self):
        for mode in MODES:
            with self.device(mode, "zoned:64M:zone=4M,capacity=3M,conventional=2") as device:
                report = zones(device)
                self.assertEqual(len(report), 16)
                self.assertEqual([row[5] for row in report],
                                 ["CONVENTIONAL"] * 2 + ["SEQ_WRITE_REQUIRED"] * 14)
                self.assertEqual({row[2] for row in report[2:]}, {(3 << 20) >> 9})
                start = report[5][0]

                def condition():
                    (_, _, _, pointer, condition, _), = zones(device, "-o", start, "-c", 1)
                    return condition, pointer

                def manage(what):
                    succeed("blkzone", what, "-o", start, "-c", 1, device.path)

                self.assertEqual(condition(), ("em", 0))
                manage("open")
                self.assertEqual(condition(), ("oe", 0))
                self.assertEqual(write_direct(device.path, start << 9, b"\1" * 8192), 8192)
                self.assertEqual(condition(), ("oe", 16))
                manage("close")
                self.assertEqual(condition(), ("cl", 16))
                manage("finish")
                self.assertEqual(condition()[0], "fu")
                self.assertEqual(read_direct(device.path, start << 9, 8192), b"\1" * 8192)
                manage("reset")
                self.assertEqual(condition(), ("em", 0))
                self.assertEqual(read_direct(device.path, start << 9, 8192), bytes(8192))
                succeed("blkzone", "reset", device.path, "-o", report[2][0])  # to the end: reset all or each
                self.assertEqual({row[4] for row in zones(device)[2:]}, {"em"})

    def test_writes_that_are_not_at_the_write_pointer_fail(self):
        for mode in MODES:
            with self.device(mode, "zoned:64M:zone=4M") as device:
                self.assertEqual(write_direct(device.path, ZONE, b"\1" * 4096), 4096)
                for offset in (ZONE, ZONE + 8192):
                    with self.assertRaises(OSError) as caught:
                        write_direct(device.path, offset, b"\2" * 4096)
                    self.assertEqual(caught.exception.errno, errno.EIO)
                # After an error the block layer writes to the zone again once it has seen a report
                # (block/blk-zoned.c, BLK_ZONE_WPLUG_NEED_WP_UPDATE).
                self.assertEqual(zones(device)[1][3], 8)
                self.assertEqual(write_direct(device.path, ZONE + 4096, b"\1" * 4096), 4096)
                # The whole device at once is one request: reset all.
                self.assertEqual({row[4] for row in zones(device)}, {"em", "oi"})
                succeed("blkzone", "reset", device.path)
                self.assertEqual({row[4] for row in zones(device)}, {"em"})
                self.assertEqual(read_direct(device.path, ZONE, 8192), bytes(8192))

    def test_open_and_active_zones_are_limited(self):
        for mode in MODES:
            with self.device(mode, "zoned:64M:zone=4M,max_open=2,max_active=2") as device:
                succeed("blkzone", "open", "-o", 0, "-c", 2, device.path)
                with self.assertRaises(OSError) as caught:
                    write_direct(device.path, 2 * ZONE, b"\1" * 4096)
                self.assertEqual(caught.exception.errno, errno.EOVERFLOW)

    def test_fio_writes_zones_and_reads_them_back(self):
        for mode in MODES:
            with self.device(mode, "zoned:128M:zone=4M,conventional=2,max_open=4") as device:
                for size, options in (("4k", ("--rw=randwrite",)), ("64k", ("--rw=write",)),
                                      ("16k", ("--rw=randwrite", "--zone_reset_threshold=0.5",
                                               "--zone_reset_frequency=0.5"))):
                    succeed("fio", "--name=zones", f"--filename={device.path}", f"--bs={size}",
                            "--zonemode=zbd", "--direct=1", "--ioengine=io_uring", "--iodepth=8",
                            "--thread", "--max_open_zones=4", "--offset=8M", "--size=48M", "--io_size=8M",
                            "--randseed=1", "--verify=crc32c", "--verify_state_save=0", *options)

    def test_two_queues_and_two_daemons(self):
        for mode in MODES:
            with self.device(mode, "zoned:128M:zone=4M", "-q", 2) as device:
                jobs = [word for job in range(2) for word in
                        (f"--name=job{job}", f"--offset={job * 64}M", "--size=16M")]
                succeed("fio", f"--filename={device.path}", "--rw=write", "--bs=32k", "--zonemode=zbd",
                        "--direct=1", "--ioengine=io_uring", "--iodepth=8", "--thread",
                        "--verify=crc32c", "--verify_state_save=0", *jobs)

    @unittest.skipUnless(shutil.which("mkfs.btrfs"), "no btrfs-progs")
    def test_btrfs_appends(self):
        if "btrfs" not in pathlib.Path("/proc/filesystems").read_text():
            run("modprobe", "btrfs")
        if "btrfs" not in pathlib.Path("/proc/filesystems").read_text():
            self.skipTest("this kernel has no btrfs")
        for mode in MODES:
            with self.device(mode, "zoned:1G:zone=16M") as device:
                succeed("mkfs.btrfs", "-q", "-f", "-O", "zoned", "-m", "single", "-d", "single",
                        device.path)
                data = os.urandom(1 << 20)
                with tempfile.TemporaryDirectory(prefix="ublkbench.") as folder:
                    for turn in ("write", "read"):
                        succeed("mount", "-t", "btrfs", device.path, folder)
                        try:
                            for number in range(24):
                                file = pathlib.Path(folder) / f"file{number}"
                                if turn == "write":
                                    file.write_bytes(data + bytes([number]))
                                else:
                                    self.assertTrue(file.read_bytes() == data + bytes([number]))
                        finally:
                            succeed("umount", folder)


if __name__ == "__main__":
    ublk.main()
