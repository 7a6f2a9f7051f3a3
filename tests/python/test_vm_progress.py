#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What scripts/vm says while a step takes long, and what 'bench' makes for a run: its shell functions by themselves."""

import os
import pathlib
import pty
import signal
import subprocess
import tempfile
import time
import unittest

PARTS = pathlib.Path(__file__).resolve().parents[2] / "scripts/vm.d"
SOURCES = "; ".join(f"source {PARTS / name}.sh" for name in ("common", "progress", "root", "build"))
HANG_S = 120


def shell(script, **options):
    return subprocess.Popen(["bash", "-euo", "pipefail", "-c", f"verbose=no preset=release; {SOURCES}; {script}"],
                            text=True, **{"stdin": subprocess.DEVNULL, **options})


def said(script):
    """Its standard output and its standard error."""
    process = shell(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, errors
    return out, errors


def ended(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Progress(unittest.TestCase):
    def test_a_line_now_and_then_where_there_is_no_terminal(self):
        with tempfile.NamedTemporaryFile("r") as log:
            process = shell(f"""lines() {{ wc -l <{log.name}; }}; progress_seconds=1; start_progress say_at 'at work'
                until (($(lines) >= 2)); do sleep 0.1; done; stop_progress; before=$(lines); sleep 2.5
                echo "$before of $(lines)" """, stdout=subprocess.PIPE, stderr=log)
            out, _ = process.communicate(timeout=HANG_S)
            before, after = out.strip().split(" of ")
            self.assertEqual(before, after, "it goes on after stop_progress")
            for line in log.read().splitlines():
                self.assertRegex(line, r"^vm: at work \(\d+ s\)$")

    def test_the_default_is_ten_seconds(self):
        self.assertEqual(said("echo $progress_seconds")[0], "10\n")

    def test_one_line_that_is_renewed_on_a_terminal(self):
        ours, theirs = pty.openpty()
        process = shell("start_progress say_at 'at work'; read -r _ || true; stop_progress", stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        text = ""
        while "(2 s)" not in text:
            text += os.read(ours, 4096).decode()
        process.stdin.close()
        self.assertEqual(process.wait(timeout=HANG_S), 0)
        while not text.endswith("\r\x1b[K"):
            text += os.read(ours, 4096).decode()
        os.close(ours)
        self.assertIn("\r\x1b[Kvm: at work (1 s)\r\x1b[Kvm: at work (2 s)", text)
        self.assertNotIn("\n", text)

    def test_not_with_verbose(self):
        self.assertEqual(said("verbose=yes progress_seconds=1; start_progress say_at 'at work'; sleep 2.5; stop_progress")[1], "")

    def test_it_ends_with_its_parent(self):
        with tempfile.TemporaryFile("w+") as errors:
            process = shell("progress_seconds=1; start_progress say_at 'at work'; echo $progress_pid; sleep 1000",
                            stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
            child = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=HANG_S)
            deadline = time.monotonic() + HANG_S
            while not ended(child) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.assertTrue(ended(child), "the progress outlives its shell")
            os.killpg(process.pid, signal.SIGKILL)  # the sleep
            process.stdout.close()

    def test_ninjas_state(self):
        with tempfile.NamedTemporaryFile("w") as log:
            log.write("ninja: Entering directory\n[1/120] Building a\n[30/120] Building b\nwarning: [9/9] c\n")
            log.flush()
            self.assertEqual(said(f"build_state {log.name} 20")[0], "building 30/120, about 60 s left\n")
        self.assertEqual(said("build_state /nonexistent 20")[0], "building\n")

    def test_steps_are_printed_after_a_first_run(self):
        script = "step root sleep 1.1; {}; step build true; print_steps"
        self.assertEqual(said(script.format("true"))[1], "")
        self.assertRegex(said(script.format("first_run=yes"))[1], r"^vm: time: root [1-9]\d* s \(CPU 0 s\), build \d+ s \(CPU 0 s\)$")
        self.assertRegex(said(script.format("verbose=yes"))[1], r"^vm: time: root [1-9]")


class Plain(unittest.TestCase):
    """The small root is for runs without probes, and for nothing else."""

    def test_words(self):
        script = (PARTS.parent / "vm").read_text()
        function = script[script.index("is_plain_run() {"):]
        function = function[:function.index("\n}\n") + 3]
        for words, plain in (("", True), ("--mode batch --qd 1", True), ("run --mode copy", True), ("doctor", False),
                             ("explain x.json", False), ("--mode copy --probe latency", False), ("--probes=batch", False)):
            with self.subTest(words):
                self.assertEqual(said(f"{function} if is_plain_run {words}; then echo yes; else echo no; fi")[0],
                                 "yes\n" if plain else "no\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
