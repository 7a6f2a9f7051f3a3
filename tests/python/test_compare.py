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


class FewIos(CompareCase):
    """A p99.9 of 500 I/Os is chance: it gets no verdict."""

    def few(self, name, ios, scale=1.0):
        samples = [records.sample(COPY, at, ns_per_io=10000 * scale, ios=ios) for at in range(10)]
        return records.write(self.folder / f"{name}.json", records.record([COPY], samples, icount=False, ios=ios))

    def test_a_percentile_needs_ten_ios_beyond(self):
        before, after = self.few("before", 5000), self.few("after", 5000, 1.5)
        self.assertEqual(self.verdicts(before, after, "--figure", "p99_ns"), {COPY["id"]: "worse"})
        self.assertEqual(self.verdicts(before, after, "--figure", "p999_ns"), {COPY["id"]: "unmeasurable"})
        self.assertIn("a sample has 5000 I/Os, and p999_ns needs 10000",
                      self.compare(before, after, "--figure", "p999_ns").stdout)


class Probed(CompareCase):
    def test_samples_with_probes_are_not_pooled_with_those_without(self):
        bare = records.cell("copy", 32)
        probed = {**bare, "probes": "latency", "id": bare["id"] + " probes=latency"}
        samples = [records.sample(cell, at, ns_per_io=ns) for cell, ns in ((bare, 10000), (probed, 12000))
                   for at in range(6)]
        run = records.write(self.folder / "probed.json", records.record([bare, probed], samples, icount=False))
        document = json.loads(self.compare(run, "--format", "json").stdout)
        self.assertEqual([(row["cell"], row["columns"][0]["n"]) for row in document["rows"]],
                         [("null qd=32 bs=4k randread", 6), ("null qd=32 bs=4k randread probes=latency", 6)])
        text = self.compare(run, "--columns", "probes").stdout
        self.assertRegex(text, r"none \(n\) +latency \(n\)")


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


class Queues(CompareCase):
    """How a device's queue was set decides what an I/O costs; the scheduler alone a third of it."""

    def queued(self, name, change, cells=(COPY, BATCH, DEEP, CONTROL), samples=None):
        path = self.record(name)
        document = json.loads(path.read_text())
        for at, sample in enumerate(document["samples"]):
            if sample["cell"] in {cell["id"] for cell in cells} and (samples is None or at in samples):
                change(sample["device"])
        return records.write(path, document)

    @staticmethod
    def setting(**values):
        return lambda device: device["queue_limits"].update(values)

    def test_another_scheduler_is_refused_by_name(self):
        one = self.record("one")
        two = self.queued("two", self.setting(scheduler="mq-deadline"), (COPY, BATCH, DEEP))
        done = self.compare(one, two, exit=4)
        self.assertIn(f'queue.scheduler: "none" and "mq-deadline" ({COPY["id"]} and 2 more)\n', done.stderr)
        self.assertIn("1 field(s) differ", done.stderr)
        text = self.compare(one, two, "--vary", "queue.scheduler").stdout
        self.assertIn(f"{COPY['id']}: I/O scheduler none in one, mq-deadline in two\n", text)
        done = self.compare(one, two, "--compare-anyway", exit=4)
        self.assertIn('queue.scheduler: "none" and "mq-deadline"', done.stdout)

    def test_so_is_any_setting_that_decides(self):
        one = self.record("one")
        for name, value in (("nomerges", 2), ("rq_affinity", 2), ("nr_requests", 256), ("max_sectors_kb", 4),
                            ("write_cache", "write back")):
            with self.subTest(name):
                two = self.queued("two", self.setting(**{name: value}), (DEEP,))
                self.assertIn(f"queue.{name}: ", self.compare(one, two, exit=4).stderr)
                self.compare(one, two, "--vary", "queue")
        self.compare(one, self.queued("two", self.setting(discard_granularity=4096)))

    def test_what_an_old_record_does_not_say_is_unknown_and_not_equal(self):
        one = self.record("one")
        self.assertNotIn("unknown", self.compare(one, self.record("same")).stdout)
        two = self.queued("two", lambda device: device.clear())
        text = self.compare(one, two).stdout
        self.assertIn(f"{COPY['id']} and 3 more: the record does not say how the queue was set", text)
        self.assertIn("scheduler is the other side's is unknown", text)
        # A setting that one of two kernels does not have is neither.
        self.compare(one, self.queued("three", self.setting(wbt_lat_usec=75000)))

    def test_a_cell_whose_samples_differ_is_like_no_other(self):
        one = self.record("one")
        two = self.queued("two", self.setting(scheduler="kyber"), (COPY,), samples={3})
        self.assertIn(f'queue.scheduler: "none" and "kyber" ({COPY["id"]}, within one run)',
                      self.compare(one, two, exit=4).stderr)

    def test_columns_of_one_run_under_two_schedulers_are_told(self):
        run = self.queued("run", self.setting(scheduler="bfq"), (BATCH,))
        text = self.compare(run, "--columns", "mode", "--filter", "qd=32").stdout
        self.assertIn("null qd=32 bs=4k randread: I/O scheduler none in copy, bfq in batch,auto_zc\n", text)

    def test_what_was_asked_for_does_not_matter(self):
        one, two = self.record("one", scheduler="none"), self.record("two", scheduler="keep")
        self.compare(one, two)


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

    def test_the_geomean_counts_what_entered(self):
        before, after = self.arms
        document = json.loads(after.read_text())
        for sample in document["samples"]:
            if sample["cell"] == DEEP["id"]:
                sample |= {"status": "failed", "reason": "hang"}
        records.write(after, document)
        text = self.compare(before, after).stdout
        self.assertRegex(text, r"(?m)^geomean of 2 of 3 cell\(s\)")
        found = json.loads(self.compare(before, after, "--format", "json").stdout)
        self.assertEqual(found["geomean_rows"], 2)

    def test_a_row_without_a_ratio_is_not_counted(self):
        """A value of 0 leaves a median and no ratio."""
        before, after = self.arms
        document = json.loads(after.read_text())
        zeroed = next(sample for sample in document["samples"] if sample["cell"] == DEEP["id"])
        zeroed["load"]["latency_ns"]["p50"] = 0
        records.write(after, document)
        self.assertRegex(self.compare(before, after, "--figure", "p50_ns").stdout, r"(?m)^geomean of 2 of 3 cell\(s\)")

    def test_one_sample_has_no_spread(self):
        one = self.compare(self.record("one", n=1), self.record("other", n=1)).stdout
        self.assertNotIn("+-0.0%", one)

    def test_bad_words(self):
        for words, says in ((("--format", "pdf"), "unknown format 'pdf'"), (("--figure", "joy"), "unknown figure 'joy'"),
                            (("--columns", "colour"), "no axis 'colour'"), (("--threshold", "x"), "no percentage")):
            done = self.compare(*self.arms, *words, exit=2)
            self.assertIn(says, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("No such file", self.compare(self.folder / "nothing.json", exit=2).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
