#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublkbench calibrate --record: the change that it names is found nine times of ten, by the comparison itself."""

import json
import math
import pathlib
import random
import tempfile
import unittest

import records

COPY = records.cell("copy", 32)
NOISY = records.cell("batch", 32)
CONTROL = records.cell(depth=32, target="null_blk", kind="control")


class Calibrate(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.random = random.Random(6)

    def record(self, name, n, deviations, slower=1.0, cells=(COPY, NOISY, CONTROL), drift=0.0):
        samples = []
        for at in range(n):
            for cell in cells:
                ns = 10000 * slower * math.exp(self.random.gauss(drift * at / n, deviations[cell["id"]]))
                samples.append(records.sample(cell, at, ns_per_io=ns))
                samples[-1] |= {"order": len(samples) - 1, "elapsed_ns": 3 * 10**9}
        return records.write(self.folder / f"{name}.json", records.record(cells, samples, icount=False))

    def calibrate(self, path):
        done = records.ublkbench("calibrate", "--record", path, "--format", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_noise_time_and_the_a_a_verdict(self):
        document = self.calibrate(self.record("a", 40, {COPY["id"]: 0.01, NOISY["id"]: 0.04, CONTROL["id"]: 0.005}))
        copy, noisy, _ = document["cells"]
        self.assertTrue(0.006 < copy["deviation"] < 0.014 and 0.026 < noisy["deviation"] < 0.055)
        self.assertEqual((copy["a_a_verdict"], document["a_a_flags"]), ("same", 0))
        # Three cells of 3 s each; two sides of ten.
        by_samples = {size["samples"]: size for size in document["sizes"]}
        self.assertAlmostEqual(by_samples[10]["minutes"], 2 * 10 * 9 / 60)
        resolved = [by_samples[n]["resolved_change"] for n in (5, 10, 20, 40)]
        self.assertEqual(resolved, sorted(resolved, reverse=True))
        self.assertEqual(by_samples[10]["resolved_change"], noisy["resolved_change"][1])  # the worst cell's
        self.assertGreater(copy["resolved_change"][0], 0.05)  # never below the threshold

    def test_the_change_that_it_names_is_found_nine_times_of_ten(self):
        """By compare itself: 150 cells of that noise, each slower by that change; binomial, p < 1e-4 outside."""
        deviation = 0.02
        cells = [records.cell("copy", depth) for depth in range(1, 151)]
        quiet = {cell["id"]: deviation for cell in cells}
        document = self.calibrate(self.record("many", 200, quiet, cells=cells[:1]))
        change = document["cells"][0]["resolved_change"][1]
        before = self.record("before", 10, quiet, cells=cells)
        after = self.record("after", 10, quiet, slower=1 + change, cells=cells)
        done = records.ublkbench("compare", before, after, "--format", "json")
        found = sum(row["columns"][1]["against_first"]["verdict"] == "worse" for row in json.loads(done.stdout)["rows"])
        self.assertTrue(120 <= found <= 148, (found, change))

    def test_a_drift_is_shown(self):
        document = self.calibrate(self.record("drift", 40, {COPY["id"]: 0.002}, cells=(COPY,), drift=0.1))
        self.assertAlmostEqual(document["cells"][0]["drift"], 1.05, delta=0.01)

    def test_text_says_what_resolves_in_how_long(self):
        path = self.record("t", 20, {COPY["id"]: 0.01, NOISY["id"]: 0.02, CONTROL["id"]: 0.005})
        text = records.ublkbench("calibrate", "--record", path).stdout
        self.assertRegex(text, r"(?m)^ 10 samples a side: every cell resolves \d+\.\d %, in 3\.0 min for both sides$")

    def test_bad_input(self):
        few = self.record("few", 9, {COPY["id"]: 0.01}, cells=(COPY,))
        done = records.ublkbench("calibrate", "--record", few)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
        self.assertIn("no cell has 10 good samples", done.stderr)
        done = records.ublkbench("calibrate", "--record", few, "--format", "csv")
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=1)
