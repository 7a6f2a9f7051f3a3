#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kill -9 at any moment leaves the old file or the new one, never half of one.

Two ways: at random moments of a run; and, where strace can be used, before each call in turn that changes a file, so that no
moment between two of them is left out. What is checked is what is on the disk, whenever the kill came.
"""

import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import records

REPORTS = pathlib.Path(__file__).resolve().parents[2] / "reports"
CHANGING = "write,pwrite64,writev,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,fchmod,chmod"
RANDOM_KILLS = 12
CALLS_MAX = 400

CELLS = (records.cell("copy", 8), records.cell(depth=8, target="null_blk", kind="control"))


def full(number):
    samples = [records.sample(cell, at, total=5000 + at) for cell in CELLS for at in range(3)]
    return records.record(CELLS, samples, id=f"run-{number}", started=f"2026-11-01T00:{number:02}:00Z")


def strace_works():
    if not shutil.which("strace"):
        return False
    done = subprocess.run(["strace", "-f", "-qq", "-e", "trace=write", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return done.returncode == 0


class Killed(unittest.TestCase):
    random: random.Random
    strace_works: bool

    @classmethod
    def setUpClass(cls):
        cls.random = random.Random(9)
        cls.strace_works = strace_works()
        if not cls.strace_works:
            print("no strace here: random moments only", file=sys.stderr)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.run_path = records.write(self.folder / "run.json", full(1))
        self.env = {**os.environ, "UBLKBENCH": str(records.UBLKBENCH.resolve()), "MPLCONFIGDIR": str(self.folder / "mpl"),
                    "PYTHONDONTWRITEBYTECODE": "1"}

    def killed_at_random(self, command, whole):
        started = time.monotonic()
        self.assertEqual(self.run_whole(command), 0)
        length_s = time.monotonic() - started
        whole("not killed")
        for _ in range(RANDOM_KILLS):
            process = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(self.random.uniform(0, length_s))
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
            whole("at a random moment")

    def strace(self, command, *options):
        # LeakSanitizer itself uses ptrace, and fails under another's.
        env = {**self.env, "ASAN_OPTIONS": "detect_leaks=0"}
        return subprocess.run(["strace", "-f", "-qq", *options, *command], env=env, capture_output=True, check=False,
                              timeout=300).returncode

    def calls(self, command):
        """{call: how often}, of a run that is not killed."""
        log = self.folder / "strace.log"
        self.assertEqual(self.strace(command, "-o", str(log), "-e", f"trace={CHANGING}", "-e", "signal=none"), 0)
        names = re.findall(r"(?m)^\d+ +(\w+)\(", log.read_text())
        log.unlink()
        return collections.Counter(names)

    def killed_before_each_call(self, command, whole):
        """Each changing call of the program in turn gets SIGKILL instead of being made."""
        if not self.strace_works:
            return
        found = self.calls(command)
        whole("not killed")
        self.assertTrue({"write", "pwrite64"} & set(found) and {"fsync", "fdatasync"} & set(found), found)
        self.assertLess(found.total(), CALLS_MAX)
        killed = 0
        for name, count in found.items():
            for number in range(1, count + 1):
                killed += self.strace(command, "-o", "/dev/null", "-e", f"trace={name}", "-e",
                                      f"inject={name}:signal=KILL:when={number}") != 0
                whole(f"before {name} {number}")
        # Where the last one left things, the next run may have less to do.
        self.assertGreater(killed, found.total() / 2, found)

    def run_whole(self, command):
        return subprocess.run(command, env=self.env, capture_output=True, check=False, timeout=300).returncode

    def leftovers(self, *expected):
        """A kill may leave a temporary file, whose name says so; anything else would be taken for a result."""
        names = {path.name for path in self.folder.iterdir()} - {"mpl", "run.json", *expected}
        return [name for name in names if not any(name.startswith(f"{known}.") for known in expected)]

    def test_baseline(self):
        path = self.folder / "baseline.json"
        command = [str(records.UBLKBENCH), "baseline", "accept", str(path), str(self.run_path), "--reason", "x" * 5000]

        def whole(when):
            if path.exists():
                self.assertEqual(records.ublkbench("baseline", "verify", path).returncode, 0, when)
            self.assertEqual(self.leftovers("baseline.json"), [], when)

        self.killed_before_each_call(command, whole)
        self.killed_at_random(command, whole)

    def test_gate_and_compare(self):
        baseline, verdict = self.folder / "baseline.json", self.folder / "verdict.json"
        self.assertEqual(records.ublkbench("baseline", "accept", baseline, self.run_path, "--reason", "first").returncode, 0)
        before = {path: path.read_bytes() for path in (baseline, self.run_path)}

        def whole(when):
            if verdict.exists():
                self.assertEqual(json.loads(verdict.read_text())["verdict"], "pass", when)
            for path, data in before.items():
                self.assertEqual(path.read_bytes(), data, when)
            self.assertEqual(self.leftovers("baseline.json", "verdict.json"), [], when)

        gate = [str(records.UBLKBENCH), "gate", str(self.run_path), "--baseline", str(baseline), "--json", str(verdict)]
        self.killed_before_each_call(gate, whole)
        self.killed_at_random(gate, whole)
        self.killed_at_random([str(records.UBLKBENCH), "compare", str(self.run_path), str(self.run_path)], whole)

    def test_report(self):
        page = self.folder / "run.html"
        # What writes every file of a report; drawing takes seconds and writes nothing.
        code = ("import sys; sys.path.insert(0, sys.argv[1]); from ublk_report.cli import write_atomically; "
                "write_atomically(sys.argv[2], b'<!DOCTYPE html>' + 2_000_000 * b'x' + b'</html>')")
        command = [sys.executable, "-c", code, str(REPORTS), str(page)]

        def whole(when):
            if page.exists():
                text = page.read_text()
                self.assertTrue(text.startswith("<!DOCTYPE html>") and text.endswith("</html>"), when)
                page.unlink()
            self.assertEqual(self.leftovers("run.html"), [], when)

        self.killed_before_each_call(command, whole)
        self.killed_at_random(command, whole)


class KilledTrend(Killed):
    def setUp(self):
        super().setUp()
        self.history = self.folder / "history.jsonl"
        self.shown = [str(records.UBLKBENCH), "trend", "show", str(self.history), "--format", "json"]
        self.add_next()

    def add_next(self):
        self.number = getattr(self, "number", 1) + 1
        records.write(self.run_path, full(self.number))
        done = records.ublkbench("trend", "add", self.history, self.run_path)
        self.assertEqual(done.returncode, 0, done.stderr)

    def check(self, when):
        """The history has whole lines and at most a torn one."""
        lines = self.history.read_bytes().split(b"\n")
        ids = [json.loads(line)["run"]["id"] for line in lines[:-1]]
        done = subprocess.run(self.shown, capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, f"{when}: {done.stderr}")
        self.assertEqual([run["id"] for run in json.loads(done.stdout)["runs"]], sorted(set(ids), key=lambda i: int(i[4:])), when)
        self.assertEqual(self.leftovers("history.jsonl"), [], when)
        return set(ids)

    def test_add(self):
        before = {"run-2"}

        def whole(when):
            nonlocal before
            after = self.check(when)
            self.assertLessEqual(before, after, when)  # nothing that was there is lost
            before = after
            prepare()

        def prepare():
            """A run that is new: the command has all to do again."""
            self.number += 1
            records.write(self.run_path, full(self.number))

        prepare()
        command = [str(records.UBLKBENCH), "trend", "add", str(self.history), str(self.run_path)]
        self.killed_before_each_call(command, whole)
        self.killed_at_random(command, whole)

    # The others' tests once are enough.
    test_baseline = test_gate_and_compare = test_report = None


if __name__ == "__main__":
    unittest.main(verbosity=1)
