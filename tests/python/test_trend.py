#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublkbench trend: steps that were planted are found and others are not; a history is read as strictly as a record."""

import json
import pathlib
import random
import tempfile
import unittest

import records
from calculator import calculate

COPY = records.cell("copy", 32)
CONTROL = records.cell(depth=32, target="null_blk", kind="control")


def changes(series):
    return [answer["changes"] for answer in calculate([{"series": values} for values in series])]


class ChangePoints(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(14)

    def noise(self, n, level=0.0):
        return [self.random.gauss(level, 1) for _ in range(n)]

    def test_without_a_step_none_is_found(self):
        # p is at most 0.001 each: 200 series have more than 3 with a chance below 1e-4.
        found = sum(bool(points) for points in changes([self.noise(40) for _ in range(200)]))
        self.assertLessEqual(found, 3)

    def test_a_planted_step_is_found_where_it_is(self):
        found = changes([self.noise(20) + self.noise(20, 3) for _ in range(100)])
        self.assertEqual(sum(len(points) == 1 for points in found), 100)
        self.assertGreaterEqual(sum(abs(points[0]["at"] - 20) <= 1 for points in found), 90)

    def test_two_steps_up_and_down(self):
        found = changes([self.noise(20) + self.noise(15, 5) + self.noise(20) for _ in range(50)])
        right = [[point["at"] for point in points] for points in found]
        self.assertGreaterEqual(sum(at == [20, 35] for at in right), 40, right)

    def test_an_outlier_is_no_level(self):
        (found,) = changes([[*self.noise(20), 60.0, *self.noise(20)]])
        self.assertEqual(found, [])

    def test_few_points_and_constants(self):
        self.assertEqual(changes([[], [1.0], [1.0, 1.0, 1.0, 9.0, 9.0], [7.0] * 50]), [[], [], [], []])

    def test_a_step_near_the_end(self):
        """Four runs behind thirty are enough, as the guide says; three are not."""
        (four, three) = changes([[*self.noise(30), *self.noise(4, 30)], [*self.noise(12), *self.noise(3, 30)]])
        self.assertEqual([point["at"] for point in four], [30])
        self.assertEqual(three, [])

    def test_the_same_series_gives_the_same_answer(self):
        series = self.noise(20) + self.noise(20, 1.5)
        one, two = changes([series, series])
        self.assertEqual(one, two)


class TrendCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.history = self.folder / "history.jsonl"
        self.random = random.Random(3)

    def record(self, number, level=1.0, queue=None, **options):
        samples = [records.sample(cell, at, queue=queue, total=5200 * (level if cell is COPY else 1) * self.random.uniform(0.9998, 1.0002))
                   for cell in (COPY, CONTROL) for at in range(3)]
        return records.write(self.folder / f"run{number}.json", records.record(
            (COPY, CONTROL), samples, id=f"run-{number}", started=f"2026-11-{1 + number // 24:02}T{number % 24:02}:00:00Z",
            commit=f"{number:040x}", **options))

    def trend(self, *words, exit=0):
        done = records.ublkbench("trend", *words)
        self.assertEqual(done.returncode, exit, done.stdout + done.stderr)
        return done

    def add(self, numbers, **options):
        self.trend("add", self.history, *[self.record(number, **options) for number in numbers])

    def show(self, *words):
        return json.loads(self.trend("show", self.history, "--format", "json", *words).stdout)

    def changes(self, document):
        return {cell["cell"]: cell["changes"] for cell in document["cells"]}


class Trend(TrendCase):
    def test_a_step_is_dated_and_measured(self):
        self.add(range(15))
        self.add(range(15, 27), level=1.02)
        document = self.show()
        found = self.changes(document)
        self.assertEqual(found[CONTROL["id"]], [])
        (change,) = found[COPY["id"]]
        self.assertEqual((change["point"], change["before"], change["after"], change["verdict"]), (15, 15, 12, "worse"))
        self.assertAlmostEqual(change["ratio"], 1.02, places=3)
        self.assertTrue(change["low"] <= change["ratio"] <= change["high"])
        text = self.trend("show", self.history).stdout
        self.assertRegex(text, rf"(?m)^2026-11-01T15:00:00Z  {'0' * 12}  copy null qd=32 .*: \+(1\.9|2\.0)\d % .*15 run.* 12 since")
        self.assertEqual(self.changes(self.show("--threshold", "5"))[COPY["id"]], [])

    def test_another_environment_is_left_out_unless_it_may_vary(self):
        fields = json.loads(json.dumps(records.KEY_FIELDS))
        fields["kernel"]["release"] = "6.12"
        self.add(range(4), key_fields=fields)
        self.add(range(4, 10))
        document = self.show()
        self.assertEqual((len(document["runs"]), document["left_out"], document["left_out_why"]), (6, 4, "env.kernel.release"))
        self.assertEqual(len(self.show("--vary", "kernel")["runs"]), 10)

    def test_values_under_another_scheduler_are_left_out_unless_it_may_vary(self):
        self.add(range(4), queue={"scheduler": "mq-deadline"})
        self.add(range(4, 10))
        document = self.show()
        self.assertEqual([(len(cell["points"]), cell["left_out"]) for cell in document["cells"]], [(6, 4), (6, 4)])
        text = self.trend("show", self.history).stdout
        self.assertIn(f"{COPY['id']}: 4 run(s) with another queue are left out:\n"
                      '  queue.scheduler: "none" and "mq-deadline"\n', text)
        self.assertEqual([len(cell["points"]) for cell in self.show("--vary", "queue")["cells"]], [10, 10])

    def test_runs_that_have_none_of_the_cells_are_not_counted(self):
        self.add(range(3))
        other = records.cell("batch", 1)
        samples = [records.sample(other, at) for at in range(3)]
        self.trend("add", self.history, records.write(self.folder / "other.json", records.record(
            [other], samples, id="run-9", started="2026-11-09T00:00:00Z")))
        text = self.trend("show", self.history, "--filter", "mode=copy").stdout
        self.assertTrue(text.startswith("3 of 4 run(s), 2026-11-01T00:00:00Z to 2026-11-01T02:00:00Z\n"), text)

    def test_values_without_a_queue_are_unknown(self):
        self.add(range(4))
        lines = [json.loads(line) for line in self.history.read_text().splitlines()]
        for line in lines[:3]:
            for cell in line["cells"]:
                del cell["queue"]
        self.history.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self.assertEqual([cell["queue_unknown"] for cell in self.show()["cells"]], [3, 3])
        self.assertIn("of 6 value(s) the history does not say how the queue was set",
                      self.trend("show", self.history).stdout)

    def test_runs_are_in_the_order_of_their_start_and_once(self):
        self.add([3, 1, 2])
        again = self.trend("add", self.history, self.folder / "run1.json")
        self.assertIn("already", again.stderr)
        self.assertEqual([run["id"] for run in self.show()["runs"]], ["run-1", "run-2", "run-3"])
        # Two processes may have added it at the same time.
        self.history.write_text(self.history.read_text() * 2)
        self.assertEqual(len(self.show()["runs"]), 3)

    def test_a_control_that_changed_is_told(self):
        for number in range(24):
            samples = [records.sample(CONTROL, at, total=5000 + 200 * (number >= 12) + self.random.random()) for at in range(3)]
            records.write(self.folder / "c.json", records.record((CONTROL,), samples, id=f"c{number}", started=f"2026-11-01T{number:02}:00:00Z"))
            self.trend("add", self.history, self.folder / "c.json")
        self.assertIn("THE CONTROL CHANGED", self.trend("show", self.history).stdout)

    def test_bad_input(self):
        self.assertIn("No such file", self.trend("show", self.history, exit=2).stderr)
        self.add([1])
        self.assertIn("unknown figure", self.trend("show", self.history, "--figure", "joy", exit=2).stderr)
        empty = records.write(self.folder / "empty.json", records.record((COPY,), (), id="e"))
        self.assertIn("no good sample", self.trend("add", self.history, empty, exit=2).stderr)
        whole = self.history.read_text()
        self.history.write_text(whole + '{"schema": "x/1"}\n')
        done = self.trend("show", self.history, exit=2)
        self.assertRegex(done.stderr, r"byte \d+ is no line of a history: its schema is 'x/1'")
        self.assertEqual(self.trend("show", self.folder, exit=2).stdout, "")


class BrokenHistory(TrendCase):
    def setUp(self):
        super().setUp()
        self.add(range(8))

    def test_a_torn_last_line_is_told_survived_and_cut_off(self):
        expected = self.show()
        whole = self.history.read_bytes()
        self.history.write_bytes(whole + whole.splitlines()[0][:500])
        done = self.trend("show", self.history)
        self.assertIn("the last line has no end and is left out (500 bytes)", done.stdout)
        self.assertEqual(self.show()["cells"], expected["cells"])
        self.add([8])
        self.assertTrue(self.history.read_bytes().startswith(whole))
        self.assertEqual(len(self.show()["runs"]), 9)
        self.assertNotIn("no end", self.trend("show", self.history).stdout)

    def test_what_is_broken_is_named(self):
        lines = [json.loads(line) for line in self.history.read_text().splitlines()]
        at = len(self.history.read_text().splitlines()[0]) + 1
        for what, spoil in (("run.started is missing", lambda line: line["run"].pop("started")),
                            ("run.tool.commit is missing", lambda line: line["run"]["tool"].pop("commit")),
                            ("fields is no object", lambda line: line.update(fields=[])),
                            ("cells is no list", lambda line: line.update(cells=None)),
                            ("cells[1].depth is no count", lambda line: line["cells"][1].update(depth="x")),
                            ("cells[0].figures.total_instructions has not a value for each sample",
                             lambda line: line["cells"][0]["figures"]["total_instructions"].pop()),
                            ("cells[0].figures.total_instructions has what is no number",
                             lambda line: line["cells"][0]["figures"].update(total_instructions=["1", 2, 3]))):
            with self.subTest(what):
                spoiled = json.loads(json.dumps(lines))
                spoil(spoiled[1])
                texts = [json.dumps(line, sort_keys=True, separators=(",", ":")) for line in spoiled]
                self.history.write_text("".join(f"{text}\n" for text in texts))
                self.assertIn(f"byte {at} is no line of a history: {what}", self.trend("show", self.history, exit=2).stderr)
        self.history.write_text("#\n")
        for words in (("show", self.history), ("add", self.history, self.record(9))):
            self.assertIn("byte 0 is no line of a history: broken JSON", self.trend(*words, exit=2).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
