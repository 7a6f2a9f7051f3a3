#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hang lab's verdicts: a selection by default, all cases that a reboot is not needed for with -C Long."""

import pathlib
import subprocess
import sys
import unittest

import ublk

LAB = pathlib.Path(__file__).resolve().parent.parent / "hanglab/hanglab.py"
SHORT = ("never_commits:bad", "stopped:ours", "killed_recovery:bad", "leak_own:bad", "busy:ours")


class HangLab(ublk.TestCase):
    def lab(self, *arguments):
        done = subprocess.run([sys.executable, str(LAB), *arguments], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"\d+ case\(s\), 0 wrong\n$")
        return done.stdout

    @unittest.skipIf(ublk.LONG, "the long form has them all")
    def test_selection(self):
        for entry in SHORT:
            name, server = entry.split(":")
            with self.subTest(case=name, server=server):
                self.assertIn(f"{name} ({server})", self.lab("--server", server, name))

    @unittest.skipUnless(ublk.LONG, "ctest -C Long")
    def test_all_cases(self):
        self.assertGreater(self.lab().count("ok "), 30)


if __name__ == "__main__":
    ublk.main()
