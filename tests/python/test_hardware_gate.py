#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""'ublkbench gate --against': turns, confirmation and verdicts, on programs whose speed is made up."""

import json
import pathlib
import stat
import sys
import tempfile
import unittest

import records

FAKE = pathlib.Path(__file__).resolve().with_name("fake_ublkbench.py")
MACHINE = {"factor": 1.0, "control_factor": 1.0, "noise": 0.005, "accelerator": "kvm", "icount": False,
           "kernel": "7.3.4", "load_average": "0.10 0.20 0.30 1/100 4711", "stolen_a_call": 0}
PAIRS = 5


class HardwareGate(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.log = self.folder / "log"

    def program(self, name, **about):
        description = self.folder / f"{name}.json"
        description.write_text(json.dumps(MACHINE | {"name": name, "commit": name[0] * 40, "log": str(self.log)} | about))
        program = self.folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -ES "{FAKE}" "{description}" "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    def gate(self, before, now, *words, exit, says=None, run=("--mode", "copy", "--qd", "32"), pairs=PAIRS):
        done = records.ublkbench("gate", "--against", before, "--program", now, "--pairs", pairs, *words, "--", *run)
        self.assertEqual(done.returncode, exit, done.stdout + done.stderr)
        if says:
            self.assertRegex(done.stdout + done.stderr, says)
        return done

    def calls(self):
        """What was measured after the two calibrations: (program, I/Os, seed, cell)."""
        lines = [line.split(" ", 3) for line in self.log.read_text().splitlines()]
        return [(name, int(ios), int(seed), cell) for name, ios, seed, cell in lines][2:]

    def test_the_same_passes_in_turns(self):
        self.gate(self.program("old"), self.program("new"), exit=0, says="gate: pass",
                  run=("--mode", "copy", "--mode", "batch", "--qd", "1,32"))
        calls = self.calls()
        self.assertEqual(len(calls), 4 * 2 * PAIRS)
        for cell in {call[3] for call in calls}:
            turns = "".join(call[0][0] for call in calls if call[3] == cell)
            self.assertEqual(turns, ("onno" * PAIRS)[:2 * PAIRS], cell)
            self.assertEqual(len({call[1] for call in calls if call[3] == cell}), 1, "both sides do the same work")
        for first, second in zip(calls[::2], calls[1::2]):
            self.assertEqual(first[3], second[3], "a pair is measured side by side")
            self.assertEqual(first[2], second[2], "and with one seed")
        orders = {tuple(call[3] for call in calls[at:at + 8:2]) for at in range(0, len(calls), 8)}
        self.assertGreater(len(orders), 1, "cells are shuffled")

    def test_a_slower_build_is_confirmed_with_fresh_pairs_of_its_cell_only(self):
        done = self.gate(self.program("old"), self.program("new", factor={"batch": 1.12}), exit=1,
                         says=r"batch null qd=32 .*: ns_per_io \+1\d\.\d\d %", run=("--mode", "copy", "--mode", "batch", "--qd", "32"))
        self.assertIn("SLOWER", done.stdout)
        again = self.calls()[2 * 2 * PAIRS:]
        self.assertEqual({call[3].split()[0] for call in again}, {"batch"})
        self.assertEqual(len(again), 2 * PAIRS)

    def test_what_fresh_pairs_do_not_confirm_passes_and_is_named(self):
        # One calibration and the first pairs are slow, then nothing is.
        self.gate(self.program("old"), self.program("new", factor=[1.12] * (1 + PAIRS) + [1.0]), exit=0,
                  says=r"not confirmed: copy null qd=32 .*: ns_per_io \+1\d\.\d\d % at first")

    def test_a_faster_build_passes_and_is_named(self):
        self.gate(self.program("old"), self.program("new", factor=0.85), exit=0, says=r"improved: copy .* -1\d")

    def test_three_percent_are_no_regression(self):
        self.gate(self.program("old"), self.program("new", factor=1.03), exit=0)
        self.gate(self.program("old"), self.program("new", factor=1.03), "--threshold", "1", exit=1)

    def test_noise_is_met_with_twice_the_pairs_and_is_no_pass(self):
        self.gate(self.program("old", noise=0.3), self.program("new", noise=0.3), exit=3, says="unmeasurable")
        self.assertEqual(len(self.calls()), 2 * 2 * PAIRS)

    def test_a_moved_control_is_inconclusive_even_beside_a_regression(self):
        self.gate(self.program("old"), self.program("new", control_factor=1.05), exit=3, says="the control moved")
        self.gate(self.program("old"), self.program("new", factor=1.2, control_factor=1.05), exit=3,
                  says="but so did the control")

    def test_a_dead_control_is_inconclusive(self):
        self.gate(self.program("old", no_control=True), self.program("new", no_control=True), exit=3, says="no control")
        self.gate(self.program("old"), self.program("new"), exit=2, says="--control none", run=("--control", "none"))

    def test_an_unfit_machine_is_not_measured(self):
        for what, says in (({"accelerator": "tcg"}, "emulated"), ({"icount": True}, "counts instructions"),
                           ({"load_average": "2.50 1 1 1/1 1"}, "load average of 2.50")):
            with self.subTest(what):
                self.log.unlink(missing_ok=True)
                self.gate(self.program("old", **what), self.program("new", **what), exit=3, says=says)
                self.assertEqual(self.calls(), [])

    def test_a_machine_that_is_taken_away(self):
        self.gate(self.program("old", stolen_a_call=50), self.program("new", stolen_a_call=50), exit=3,
                  says="hypervisor took")

    def test_a_failed_sample(self):
        self.gate(self.program("old"), self.program("new", fails_at=3), exit=3, says="'now' failed: I/O error")

    def test_two_kernels_are_compared_on_request(self):
        old, new = self.program("old", kernel="7.2.9"), self.program("new")
        self.gate(old, new, exit=4, says=r'env\.kernel\.release: "7\.2\.9" and "7\.3\.4"')
        self.gate(old, new, "--vary", "kernel", exit=0)

    def test_a_program_that_leaves_no_record(self):
        self.gate(self.program("old"), self.program("new", exit=5, says="no driver"), exit=5, says="exit 5.: no driver")
        self.gate(self.program("old"), self.program("new", exit=139, says="oops"), exit=2, says="exit 139.: oops")

    def test_a_waiver_holds(self):
        waivers = self.folder / "waivers.json"
        for expires, code in (("2999-12-31", 0), ("2020-01-01", 1)):
            waivers.write_text(json.dumps({"schema": "ublkbench.waivers/1", "waivers": [
                {"cell": "copy null qd=32 bs=4k randread", "figure": figure, "ceiling_percent": 30, "expires": expires,
                 "issue": "#1"} for figure in ("ns_per_io", "p99_ns")]}))
            self.gate(self.program("old"), self.program("new", factor=1.2), "--waivers", waivers, exit=code)

    def test_the_verdict_as_json_and_the_records_stay(self):
        out = self.folder / "out"
        done = self.gate(self.program("old"), self.program("new", factor=1.1), "--format", "json", "--out", out, exit=1)
        document = json.loads(done.stdout)
        self.assertEqual((document["schema"], document["gate"], document["exit_code"]), ("ublkbench.gate/2", "hardware", 1))
        row = next(row for row in document["rows"] if row["figure"] == "ns_per_io" and not row["control"])
        self.assertEqual((row["verdict"], row["before"]["n"]), ("worse", PAIRS))
        self.assertGreater(row["flagged_ratio"], 1.05)
        shown = {row["figure"] for row in document["rows"] if not row["gated"]}
        self.assertEqual(shown, {"server_instructions", "load_instructions"})
        self.assertEqual(len(list(out.glob("pair*.json"))), 2 * 2 * PAIRS)

    def test_bad_words(self):
        old, new = self.program("old"), self.program("new")
        self.gate(old, new, exit=2, says="the gate decides that", run=("--ios", "5"))
        self.gate(old, new, pairs=3, exit=2, says="--pairs 3")
        self.gate(old, self.folder / "nothing", exit=2, says="No such file")
        self.gate(old, new, "--baseline", "x", exit=2, says="--baseline FILE, or a program by --against")
        done = records.ublkbench("gate")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
