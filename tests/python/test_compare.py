#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublkbench compare: verdicts, axes, formats, and what it refuses, on records made by hand."""

import csv
import io
import json
import pathlib
import random
import re
import tempfile
import unittest

import records

COPY = records.cell("copy", 32)
BATCH = records.cell("batch,auto_zc", 32)
DEEP = records.cell("copy", 128)
CONTROL = records.cell(depth=32, target="null_blk", kind="control")


class CompareCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.random = random.Random(5)

    def record(self, name, scale=(), n=10, spread=0.01, **options):
        """Wall-clock samples; `scale` maps a cell's id to how much slower it is."""
        scale = dict(scale)
        samples = []
        for cell in (COPY, BATCH, DEEP, CONTROL):
            for at in range(n):
                ns = 10000 * scale.get(cell["id"], 1) * self.random.uniform(1 - spread, 1 + spread)
                samples.append(records.sample(cell, at, ns_per_io=ns))
        options.setdefault("icount", False)
        return records.write(self.folder / f"{name}.json",
                             records.record((COPY, BATCH, DEEP, CONTROL), samples, **options))

    def compare(self, *words, exit=0):
        done = records.ublkbench("compare", *words)
        self.assertEqual(done.returncode, exit, done.stdout + done.stderr)
        return done

    def verdicts(self, *words):
        document = json.loads(self.compare(*words, "--format", "json").stdout)
        return {row["cell"]: row["columns"][1]["against_first"]["verdict"] for row in document["rows"]}


class Verdicts(CompareCase):
    def test_each(self):
        before = self.record("before")
        after = self.record("after", {COPY["id"]: 1.2, BATCH["id"]: 0.8})
        self.assertEqual(self.verdicts(before, after),
                         {COPY["id"]: "worse", BATCH["id"]: "better", DEEP["id"]: "same"})
        noisy = self.record("noisy", n=5, spread=0.3)
        self.assertEqual(self.verdicts(before, noisy)[DEEP["id"]], "unmeasurable")
        few, as_few = self.record("few", n=4), self.record("as_few", n=4)
        self.assertEqual(self.verdicts(few, as_few)[DEEP["id"]], "unmeasurable")

    def test_more_is_better_for_iops(self):
        before, after = self.record("before"), self.record("after", {COPY["id"]: 1.2})
        found = self.verdicts(before, after, "--figure", "iops")
        self.assertEqual((found[COPY["id"]], found[DEEP["id"]]), ("worse", "same"))

    def test_a_moved_control_is_shouted(self):
        before, after = self.record("before"), self.record("after", {CONTROL["id"]: 1.1})
        self.assertIn("THE CONTROL MOVED", self.compare(before, after).stdout)
        self.assertNotIn("THE CONTROL MOVED", self.compare(before, self.record("same")).stdout)

    def test_one_sample_has_no_verdict(self):
        before, after = self.record("before", n=1), self.record("after", n=1)
        self.assertEqual(set(self.verdicts(before, after).values()), {"unmeasurable"})


class Axes(CompareCase):
    def test_columns_by_any_axis(self):
        run = self.record("run", {BATCH["id"]: 0.8})
        text = self.compare(run, "--columns", "mode", "--filter", "qd=32").stdout
        self.assertRegex(text, r"copy \(n\) +batch,auto_zc \(n\)")
        self.assertRegex(text, r"(?m)^null qd=32 bs=4k randread .* better$")
        text = self.compare(run, "--columns", "qd", "--filter", "mode=copy").stdout
        self.assertRegex(text, r"(?m)^copy null bs=4k randread ")

    def test_filter(self):
        before, after = self.record("before"), self.record("after")
        self.assertEqual(set(self.verdicts(before, after, "--filter", "mode=batch,auto_zc,qd=32")), {BATCH["id"]})
        self.assertEqual(set(self.verdicts(before, after, "--filter", "qd=32|64,kind=ublk,bs=4096")),
                         {COPY["id"], BATCH["id"]})
        for bad, says in (("nonsense", "no AXIS=VALUE"), ("speed=3", "no axis 'speed'")):
            self.assertIn(says, self.compare(before, after, "--filter", bad, exit=2).stderr)
        self.assertIn("no cell passes", self.compare(before, after, "--filter", "qd=7", exit=2).stderr)

    def test_rows_are_sorted_by_axes(self):
        before, after = self.record("before"), self.record("after")
        order = list(self.verdicts(before, after, "--rows", "qd,mode"))
        self.assertEqual(order, [BATCH["id"], COPY["id"], DEEP["id"]])

    def test_labels_pool_boots(self):
        one, two = self.record("one", n=3), self.record("two", n=3)
        other = self.record("other", n=6)
        document = json.loads(self.compare(f"A={one}", f"A={two}", f"B={other}", "--format", "json").stdout)
        self.assertEqual([c["n"] for c in document["rows"][0]["columns"]], [6, 6])

    def test_files_of_one_name_stay_apart(self):
        self.record("run")
        (self.folder / "x").mkdir()
        (self.folder / "run.json").rename(self.folder / "x" / "run.json")
        second = self.record("run")
        document = json.loads(self.compare(self.folder / "x" / "run.json", second, "--format", "json").stdout)
        self.assertEqual(len(document["columns"]), 2)


class Unlike(CompareCase):
    def kernels(self):
        fields = json.loads(json.dumps(records.KEY_FIELDS))
        fields["kernel"]["release"] = "6.12"
        return self.record("old"), self.record("new", key_fields=fields)

    def test_refused_with_each_field(self):
        old, new = self.kernels()
        done = self.compare(old, new, exit=4)
        self.assertIn('env.kernel.release: "7.3.4" and "6.12"', done.stderr)
        self.assertEqual(done.stdout, "")

    def test_vary_allows_what_it_names_only(self):
        old, new = self.kernels()
        self.compare(old, new, "--vary", "kernel")
        self.compare(old, new, "--vary", "env.kernel.release")
        self.compare(old, new, "--vary", "cpu", exit=4)

    def test_anyway_gives_no_verdicts(self):
        old, new = self.kernels()
        done = self.compare(old, new, "--compare-anyway", exit=4)
        self.assertIn("NOT COMPARABLE", done.stdout)
        self.assertNotRegex(done.stdout, r"(?m) (same|better|worse)$")

    def test_commits_may_differ_but_not_under_one_label(self):
        one, two = self.record("one"), self.record("two", commit="b" * 40)
        self.compare(one, two)
        self.assertIn("different commits", self.compare(f"A={one}", f"A={two}", exit=2).stderr)

    def test_other_work_is_refused(self):
        one, two = self.record("one"), self.record("two", ios=5)
        self.assertIn("work.ios: 10000 and 5", self.compare(one, two, exit=4).stderr)


class Formats(CompareCase):
    def setUp(self):
        super().setUp()
        self.arms = (self.record("before"), self.record("after", {COPY["id"]: 1.2}))

    def test_markdown(self):
        text = self.compare(*self.arms, "--format", "md").stdout
        table = [line for line in text.splitlines() if line.startswith("|")]
        self.assertEqual(len({len(re.findall(r"(?<!\\)\|", line)) for line in table}), 1)
        self.assertTrue(any("worse" in line for line in table))

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(self.compare(*self.arms, "--format", "csv").stdout)))
        self.assertEqual(len(rows), 4 * 2)
        (worse,) = [row for row in rows if row["verdict"] == "worse"]
        self.assertEqual(worse["mode"], "copy")
        self.assertGreater(float(worse["low"]), 1.1)

    def test_text_has_the_geomean(self):
        self.assertRegex(self.compare(*self.arms).stdout, r"(?m)^geomean of 3 cell\(s\)")

    def test_bad_words(self):
        for words, says in ((("--format", "pdf"), "unknown format 'pdf'"), (("--figure", "joy"), "unknown figure 'joy'"),
                            (("--columns", "colour"), "no axis 'colour'"), (("--threshold", "x"), "no percentage")):
            done = self.compare(*self.arms, *words, exit=2)
            self.assertIn(says, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("No such file", self.compare(self.folder / "nothing.json", exit=2).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
