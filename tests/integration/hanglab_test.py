#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hang lab's verdicts: a selection by default, all cases that a reboot is not needed for with -C Long."""

import pathlib
import subprocess
import sys
import unittest

import ublk

LAB = pathlib.Path(__file__).resolve().parent.parent / "hanglab/hanglab.py"
SHORT = ("never_commits:bad", "never_commits:ours", "stopped:ours", "killed_recovery:bad", "leak_own:bad", "no_fetch:bad",
         "held_by_char:bad", "quiesce_missed:ours", "start_waits:bad", "starved:bad", "idle:ours", "busy:ours",
         "frozen:ours", "frozen_with_request:bad", "throttled:ours", "thawed:bad", "slow_stop_beside_a_hang:bad",
         "used_by_loop:bad", "used_by_dm:bad")


class HangLab(ublk.TestCase):
    def lab(self, *arguments):
        done = subprocess.run([sys.executable, str(LAB), *arguments], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"\d+ case\(s\), 0 wrong\n$")
        if ublk.IN_VM:  # where scripts/vm puts the kernel's own server; other cases may need a newer kernel
            self.assertNotRegex(done.stdout, r"(?m)^skip .*\(kublk\)")
        return done.stdout

    @unittest.skipIf(ublk.LONG, "the long form has them all")
    def test_selection(self):
        # A case may be judged of more than one device.
        self.assertGreaterEqual(self.lab("--together", *SHORT).count("ok "), len(SHORT))

    @unittest.skipUnless(ublk.LONG, "ctest -C Long")
    def test_all_cases(self):
        self.assertGreater(self.lab("--together").count("ok "), 60)


if __name__ == "__main__":
    ublk.main()
