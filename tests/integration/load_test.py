#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The load generator on null_blk: it needs no ublk, so each of its answers can be arranged here."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

import ublk
from ublk import BUILD, run, succeed

LOAD = BUILD / "bench/tools/ublk-load"
def load(*arguments):
    """Exit code and JSON of a run; the JSON is None when there was none."""
    done = run(LOAD, *arguments, "--json", "-")
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


class Load(unittest.TestCase):
    def test_fixed_work_is_exact(self):
        with ublk.NullBlk("lwork") as device:
            for words in ((), ("--no-latency",), ("--no-fixed-bufs", "--no-registered-file"),
                          ("--jobs", 2), ("--depth", 1), ("--rw", "randrw", "--destructive"),
                          ("--rw", "read", "--bs", "64k"), ("--hipri",), ("--rate", "20k")):
                with self.subTest(words=words):
                    code, document, text = load(device.path, "--ios", "5k", *words)
                    self.assertEqual(code, 0, text)
                    self.assertEqual(document["report"]["measured_ios"], 5000)
                    self.assertGreater(document["report"]["usage"]["cpu_ns"], 0)

    def test_a_device_in_use_is_not_written(self):
        with ublk.NullBlk("luse", memory_backed=1) as device:
            succeed("mkfs.ext4", "-q", device.path)
            with tempfile.TemporaryDirectory(prefix="ublkbench.") as folder:
                succeed("mount", device.path, folder)
                try:
                    for words in (("--rw", "write", "--ios", "1"), ("--verify",)):
                        code, _, text = load(device.path, "--destructive", *words)
                        self.assertEqual(code, 2)
                        self.assertIn("mounted", text)
                finally:
                    succeed("umount", folder)
            succeed("fsck.ext4", "-n", "-f", device.path)

    def test_writing_needs_permission(self):
        with ublk.NullBlk("lperm") as device:
            for words in (("--rw", "write"), ("--verify",)):
                code, _, text = load(device.path, *words)
                self.assertEqual(code, 2)
                self.assertIn("--destructive", text)

    def test_an_io_that_would_be_split_is_refused(self):
        with ublk.NullBlk("lsplit", max_sectors=64) as device:
            code, _, text = load(device.path, "--bs", "64k")
            self.assertEqual(code, 2)
            self.assertIn("split", text)
            code, _, _ = load(device.path, "--bs", "64k", "--allow-split", "--ios", 100)
            self.assertEqual(code, 0)

    def test_polling_without_poll_queues_is_refused(self):
        with ublk.NullBlk("lpoll", poll_queues=0) as device:
            queue = pathlib.Path(f"/sys/block/{os.path.basename(device.path)}/queue/io_poll")
            self.assertEqual(queue.read_text().strip(), "0")
            code, _, text = load(device.path, "--hipri")
            self.assertEqual(code, 5)
            self.assertIn("io_poll", text)

    def test_an_error_names_its_place(self):
        with ublk.NullBlk("lbad", badblocks="+64-71") as device:  # sectors: 4 KiB at 32 KiB
            code, document, text = load(device.path, "--rw", "read", "--size", "64k", "--ios", "1k",
                                        "--depth", 1)
            self.assertEqual(code, 6, text)
            self.assertEqual(document["report"]["ending"], "errors")
            self.assertEqual(document["report"]["first_error"]["offset_bytes"], 32768)
            self.assertEqual(document["report"]["first_error"]["errno"], 5)

    def test_a_hang_is_reported_and_left(self):
        # A timer completes each I/O after four seconds: as good as never for a timeout of 0.3 s.
        with ublk.NullBlk("lhang", irqmode=2, completion_nsec=4_000_000_000) as device:
            code, document, text = load(device.path, "--ios", "1k", "--depth", 4, "--jobs", 2,
                                        "--hang-timeout", "300ms")
            self.assertEqual(code, 7, text)
            hang = document["report"]["hang"]
            self.assertEqual(len(hang["outstanding"]), 8)
            self.assertEqual(hang["unreachable_jobs"], 0)
            for stuck in hang["outstanding"]:
                self.assertGreater(stuck["age_ns"], 200_000_000)
            code, document, _ = load(device.path, "--verify", "--destructive", "--hang-timeout",
                                     "300ms")
            self.assertEqual(code, 7)
            self.assertTrue(document["verify"]["hang"]["outstanding"])

    def test_control_c_ends_it(self):
        with ublk.NullBlk("lstop") as device:
            process = subprocess.Popen([LOAD, device.path, "--runtime", "60s"],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            ublk.wait_until(lambda: ublk.catches(process.pid, signal.SIGINT), "a signal handler")
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=ublk.HANG_S)
            self.assertEqual(process.returncode, 130)
            self.assertIn("stopped", output)

    def test_verification_of_a_device_that_keeps_data(self):
        with ublk.NullBlk("lgood", memory_backed=1) as device:
            for words in ((), ("--no-fixed-bufs",), ("--buffered",)):
                code, document, text = load(device.path, "--verify", "--destructive", *words)
                self.assertEqual(code, 0, text)
                self.assertTrue(document["verify"]["passed"])
                self.assertGreater(document["verify"]["checked_blocks"], 32768)

    def test_verification_of_a_device_that_keeps_nothing(self):
        with ublk.NullBlk("lnull") as device:
            code, document, text = load(device.path, "--verify", "--destructive")
            self.assertEqual(code, 6, text)
            self.assertFalse(document["verify"]["passed"])
            self.assertGreaterEqual(document["verify"]["faults"]["corrupt"], 32768)
            code, document, _ = load(device.path, "--verify", "--destructive", "--stores-nothing")
            self.assertEqual(code, 0)

    def test_verification_then_measurement(self):
        with ublk.NullBlk("lboth", memory_backed=1) as device:
            code, document, _ = load(device.path, "--verify", "--destructive", "--ios", "1k")
            self.assertEqual(code, 0)
            self.assertEqual(document["report"]["measured_ios"], 1000)


if __name__ == "__main__":
    ublk.main()
