#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The path-length gate and baselines: every verdict and exit code, on records made by hand."""

import copy
import json
import pathlib
import random
import subprocess
import tempfile
import time
import unittest

import records

CELLS = (records.cell("copy", 1), records.cell("copy", 128), records.cell("batch", 128))
CONTROL = records.cell(depth=128, target="null_blk", kind="control")
NOISE = (1.0, 1.0004, 0.9997)


def boots(scale=None, cells=CELLS, control_scale=1.0, **options):
    """Three records, one a boot; `scale` maps a cell's id to how much longer the server's path is."""
    scale = scale or {}
    found = []
    for boot, noise in enumerate(NOISE):
        samples = []
        for cell in cells:
            server = 2500 * scale.get(cell["id"], 1.0)
            samples.append(records.sample(cell, 0, server=server * noise, load=2600 * noise,
                                          total=(2700 + server) * noise))
        samples.append(records.sample(CONTROL, 0, load=3500 * noise * control_scale,
                                      total=3600 * noise * control_scale))
        found.append(records.record([*cells, CONTROL], samples, seed=boot, **options))
    return found


class GateCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.baseline = self.folder / "baseline.json"
        done = records.ublkbench("baseline", "accept", self.baseline, *self.write(boots()), "--reason", "the first")
        self.assertEqual(done.returncode, 0, done.stderr)

    def write(self, documents):
        return [records.write(self.folder / f"boot{at}.json", document) for at, document in enumerate(documents)]

    def gate(self, documents, *words, exit, says=None):
        done = records.ublkbench("gate", "--baseline", self.baseline, *words, *self.write(documents))
        self.assertEqual(done.returncode, exit, done.stdout + done.stderr)
        if says:
            self.assertRegex(done.stdout + done.stderr, says)
        return done


class Queues(GateCase):
    def scheduled(self, word):
        documents = boots()
        for document in documents:
            for sample in document["samples"]:
                sample["device"]["queue_limits"]["scheduler"] = word
        return documents

    def test_another_scheduler_is_not_comparable(self):
        done = self.gate(self.scheduled("mq-deadline"), exit=4, says="not measured as the baseline's were")
        self.assertIn(f'queue.scheduler: "none" and "mq-deadline" ({CELLS[0]["id"]} and 3 more)', done.stdout)
        self.gate(self.scheduled("mq-deadline"), "--moved-environment", "warn", exit=4)

    def test_boots_with_different_schedulers_are_no_set(self):
        mixed = [*boots()[:2], self.scheduled("bfq")[2]]
        self.gate(mixed, exit=4, says="queue.scheduler")

    def test_a_baseline_of_before_does_not_know(self):
        document = json.loads(self.baseline.read_text())
        for cell in document["cells"]:
            self.assertEqual(cell.pop("queue")["scheduler"], "none")
        self.baseline.write_text(json.dumps(document))
        self.gate(boots(), exit=0, says="whether its scheduler is the other side's is unknown")


class Verdicts(GateCase):
    def test_the_same_passes(self):
        self.gate(boots(), exit=0, says="gate: pass")

    def test_two_percent_in_one_cell_is_a_regression(self):
        cell = CELLS[1]["id"]
        done = self.gate(boots({cell: 1.02}), exit=1, says="gate: regression")
        self.assertIn(f"{cell}: server_instructions +2.00 %", done.stdout)
        self.assertNotIn(CELLS[0]["id"] + ": ", done.stdout)

    def test_an_improvement_passes_and_is_named(self):
        done = self.gate(boots({CELLS[2]["id"]: 0.97}), exit=0, says="can be tightened")
        self.assertIn(f"improved: {CELLS[2]['id']}: server_instructions -3.00 %", done.stdout)

    def test_a_change_below_the_threshold_passes(self):
        self.gate(boots({CELLS[1]["id"]: 1.004}), exit=0)
        self.gate(boots({CELLS[1]["id"]: 1.004}), "--threshold", "0.2%", exit=1)

    def test_samples_that_spread_too_far_are_no_pass(self):
        def spread(percent):
            documents = boots()
            for at, document in enumerate(documents):
                for sample in document["samples"]:
                    if sample["cell"] == CELLS[1]["id"]:
                        sample["per_io"]["server_instructions"] *= 1 + (at - 1) * percent / 100
            return documents
        self.gate(spread(0.4), exit=0)
        self.gate(spread(3), exit=3, says="server_instructions is unmeasurable: the interval is wider than")

    def test_a_moved_control_is_inconclusive_even_beside_a_regression(self):
        self.gate(boots(control_scale=1.03), exit=3, says="the control moved")
        self.gate(boots({CELLS[1]["id"]: 1.05}, control_scale=1.03), exit=3, says="but so did the control")

    def test_a_dead_control_is_no_pass(self):
        failed = boots()
        for document in failed:
            document["samples"][-1] |= {"status": "failed", "reason": "no null_blk"}
        self.gate(failed, exit=3, says="no control was measured")
        absent = boots()
        for document in absent:
            document["cells"].pop()
            document["samples"].pop()
        self.gate(absent, exit=3, says=r"\(null_blk\) qd=128 .* was not measured")

    def test_a_missing_cell(self):
        self.gate(boots(cells=CELLS[:2]), exit=3, says=r"batch null qd=128 .* was not measured")

    def test_a_new_cell_is_named_and_passes(self):
        done = self.gate(boots(cells=(*CELLS, records.cell("auto_zc"))), exit=0)
        self.assertIn("not in the baseline: auto_zc null qd=128", done.stdout)

    def test_zero_samples(self):
        documents = boots()
        for document in documents:
            document["samples"] = []
        self.gate(documents, exit=3, says="has no good sample")

    def test_samples_that_measured_nothing(self):
        documents = boots()
        for document in documents:
            for sample in document["samples"]:
                sample["load"]["measured_ios"] = 0
        self.gate(documents, exit=3, says="no I/O was measured")

    def test_too_few_boots(self):
        self.gate(boots()[:2], exit=3, says="2 sample.s., 3 are needed")

    def test_a_failed_sample(self):
        documents = boots()
        documents[0]["samples"][0] |= {"status": "failed", "reason": "I/O error"}
        self.gate(documents, exit=3, says="I/O error")

    def test_inconclusive_as_a_warning(self):
        self.gate(boots(cells=CELLS[:2]), "--inconclusive", "warn", exit=0, says="inconclusive")

    def test_another_kernel(self):
        fields = json.loads(json.dumps(records.KEY_FIELDS))
        fields["kernel"]["release"] = "6.12.1"
        self.gate(boots(key_fields=fields), exit=4, says=r'env\.kernel\.release: "7\.3\.4" and "6\.12\.1"')
        self.gate(boots(key_fields=fields), "--vary", "kernel", exit=0)

    def test_another_cpu_model(self):
        fields = json.loads(json.dumps(records.KEY_FIELDS))
        fields["machine"]["qemu_cpu"] = "max"
        self.gate(boots(key_fields=fields), exit=4, says=r'env\.machine\.qemu_cpu: "max,-erms" and "max"')

    def test_other_work(self):
        self.gate(boots(ios=500), exit=4, says=r"work\.ios of copy null qd=1 .*: 10000 and 500")
        self.gate(boots(jobs=2), exit=4, says=r"work\.jobs: 1 and 2")

    def test_cells_of_other_work_have_records_of_their_own(self):
        both = [*boots(cells=CELLS[:1], ios=500), *boots(cells=CELLS[1:])]
        for document in both[:3]:  # the control is in the other records
            document["cells"].pop()
            document["samples"].pop()
        other = self.folder / "other.json"
        done = records.ublkbench("baseline", "accept", other, *self.write(both), "--reason", "two depths")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = records.ublkbench("gate", "--baseline", other, *self.write(both))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        mixed = boots(cells=CELLS[:1])
        mixed[1]["run"]["ios"] = 500
        self.gate(mixed, exit=4, says="ios: 10000 and 500")

    def test_only_a_moved_environment_may_be_a_warning(self):
        def fields(part, name, value):
            changed = copy.deepcopy(records.KEY_FIELDS)
            changed[part][name] = value
            return changed

        for part, name, value, code in (("kernel", "release", "7.3.5", 0), ("build", "compiler", "GNU 14.3.0", 0),
                                        ("kernel", "cmdline", "mitigations=on", 4), ("build", "flags", "-O3", 4),
                                        ("machine", "qemu_cpu", "max", 4)):
            with self.subTest(field=f"{part}.{name}"):
                done = self.gate(boots(key_fields=fields(part, name, value)), "--moved-environment", "warn", exit=code)
                self.assertIn("gate: not comparable", done.stdout)
        # What the tree decides has not moved by itself.
        self.gate(boots(ios=500, key_fields=fields("kernel", "release", "7.3.5")), "--moved-environment", "warn", exit=4)
        self.gate(boots({CELLS[1]["id"]: 1.02}), "--moved-environment", "warn", exit=1)

    def test_another_commit_is_what_it_is_for(self):
        self.gate(boots(commit="b" * 40), exit=0)

    def test_codes_for_git_bisect(self):
        self.gate(boots(), "--bisect", exit=0)
        self.gate(boots({CELLS[1]["id"]: 1.02}), "--bisect", exit=1)
        self.gate(boots(cells=CELLS[:2]), "--bisect", exit=125)
        self.gate(boots(ios=500), "--bisect", exit=125)
        self.gate(boots(), "--bisect", "--threshold", "none", exit=128)

    def test_json_carries_the_verdict(self):
        done = self.gate(boots({CELLS[1]["id"]: 1.02}), "--format", "json", exit=1)
        document = json.loads(done.stdout)
        self.assertEqual((document["verdict"], document["exit_code"]), ("regression", 1))
        worse = [row for row in document["rows"] if row["verdict"] == "worse"]
        self.assertEqual({row["cell"] for row in worse}, {CELLS[1]["id"]})
        path = self.folder / "verdict.json"
        self.gate(boots(), "--json", path, exit=0)
        self.assertEqual(json.loads(path.read_text())["verdict"], "pass")


class BrokenInput(GateCase):
    def test_records(self):
        good = json.dumps(boots()[0])
        wrong = json.loads(good)
        wrong["schema"] = "ublkbench.run/9"
        lacking = json.loads(good)
        del lacking["samples"][0]["load"]["measured_ios"]
        numbered = json.loads(good)
        numbered["run"]["tool"]["commit"] = 5
        stranger = json.loads(good)
        stranger["samples"][0]["cell"] = "nobody"
        twice = json.loads(good)
        twice["samples"].append(twice["samples"][0])
        for what, text, says in (
                ("broken", good.replace('"samples"', '"samples', 1), "broken JSON"),
                ("truncated", good[:len(good) // 2], "broken JSON"),
                ("empty", "", "broken JSON"),
                ("an array", "[]", "no JSON object"),
                ("schema", json.dumps(wrong), r"its schema is 'ublkbench\.run/9'"),
                ("missing field", json.dumps(lacking), r"samples\[0\]\.load\.measured_ios is missing"),
                ("commit", json.dumps(numbered), r"run\.tool\.commit is no string"),
                ("unknown cell", json.dumps(stranger), "'nobody' is no cell"),
                ("twice", json.dumps(twice), "is there twice")):
            with self.subTest(what):
                path = self.folder / "bad.json"
                path.write_text(text)
                done = records.ublkbench("gate", "--baseline", self.baseline, path)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                self.assertRegex(done.stderr, says)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertEqual(done.stdout, "")

    def test_a_cut_folder(self):
        document = boots()[0]
        folder = self.folder / "out"
        folder.mkdir()
        lines = "".join(json.dumps(sample) + "\n" for sample in document.pop("samples"))
        records.write(folder / "run.json", document)
        (folder / "samples.jsonl").write_text(lines)
        done = records.ublkbench("compare", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        (folder / "samples.jsonl").write_text(lines[:-20])
        done = records.ublkbench("compare", folder)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("the last line is cut off", done.stderr)

    def test_baselines(self):
        good = self.baseline.read_text()
        for what, text in (("truncated", good[:200]), ("empty", ""), ("schema", good.replace("baseline/1", "baseline/7")),
                           ("negative", good.replace("2500.0", "-1.0"))):
            with self.subTest(what):
                self.baseline.write_text(text)
                done = records.ublkbench("baseline", "verify", self.baseline)
                self.assertEqual(done.returncode, 2, done.stdout)
                self.gate(boots(), exit=2, says="is no baseline")
        self.baseline.unlink()
        self.gate(boots(), exit=2, says="No such file")


class Waivers(GateCase):
    def waive(self, *, cell=CELLS[1]["id"], figure="server_instructions", **change):
        waiver = {"cell": cell, "figure": figure, "ceiling_percent": 3, "expires": "2999-12-31", "issue": "#1", **change}
        path = self.folder / "waivers.json"
        path.write_text(json.dumps({"schema": "ublkbench.waivers/1", "waivers": [waiver]}))
        return ("--waivers", path)

    def regressed(self):
        # Only the server's share grows beyond the threshold.
        documents = boots()
        for document in documents:
            for sample in document["samples"]:
                if sample["cell"] == CELLS[1]["id"]:
                    sample["per_io"]["server_instructions"] *= 1.02
        return documents

    def test_a_waiver_holds_below_its_ceiling_until_it_expires(self):
        self.gate(self.regressed(), exit=1)
        self.gate(self.regressed(), *self.waive(), exit=0, says="waived")
        self.gate(self.regressed(), *self.waive(expires="2020-01-01"), exit=1, says=r"its waiver .#1. expired on 2020-01-01")
        self.gate(self.regressed(), *self.waive(ceiling_percent=1), exit=1, says="allows 1 %")
        self.gate(self.regressed(), *self.waive(figure="load_instructions"), exit=1)

    def test_a_waiver_needs_all_its_fields(self):
        for change in ({"issue": ""}, {"expires": "soon"}, {"ceiling_percent": 0}, {"figure": "speed"}):
            with self.subTest(change=change):
                self.gate(boots(), *self.waive(**change), exit=2, says="is no list of waivers")


class Accepting(GateCase):
    def accept(self, documents, *words, says):
        before = self.baseline.read_bytes()
        done = records.ublkbench("baseline", "accept", self.baseline, *self.write(documents), "--reason", "why", *words)
        self.assertIn(done.returncode, (2, 4), done.stdout)
        self.assertRegex(done.stderr, says)
        self.assertEqual(self.baseline.read_bytes(), before)

    def test_what_is_refused(self):
        self.accept(boots(icount=False), says="was not measured under icount")
        self.accept(boots()[:2], says="has at least 3")
        self.accept(boots(planted_instructions=50), says="planted instructions")
        dirty = boots()
        for document in dirty:
            document["run"]["tool"]["dirty"] = True
        self.accept(dirty, says="changes that are in no commit")
        mixed = boots()
        mixed[1]["run"]["tool"]["commit"] = "c" * 40
        self.accept(mixed, says="different commits")
        failed = boots()
        failed[0]["samples"][0] |= {"status": "failed", "reason": "hang"}
        self.accept(failed, says="1 failed")
        uncontrolled = boots()
        for document in uncontrolled:
            document["cells"].pop()
            document["samples"].pop()
        self.accept(uncontrolled, says="no control cell")

    def test_what_is_kept(self):
        document = json.loads(self.baseline.read_text())
        self.assertEqual(document["accepted"]["reason"], "the first")
        self.assertEqual(document["accepted"]["commit"], "a" * 40)
        self.assertEqual(len(document["cells"][0]["samples"]["server_instructions"]), 3)
        shown = records.ublkbench("baseline", "show", self.baseline)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("the first", shown.stdout)
        self.assertIn(CELLS[2]["id"], shown.stdout)
        self.assertEqual(records.ublkbench("baseline", "verify", self.baseline).stdout, "")

    def test_kill_9_at_any_moment_leaves_the_old_baseline_or_the_new(self):
        paths = self.write(boots(commit="d" * 40))
        rng = random.Random(9)
        outcomes = set()
        command = [records.UBLKBENCH, "baseline", "accept", self.baseline, *paths, "--reason", "the second"]
        begin = time.monotonic()
        subprocess.run(command, check=True)
        length_s = time.monotonic() - begin
        whole = self.baseline.read_bytes()
        old = whole.replace(b"the second", b"the first")
        for _ in range(25):
            self.baseline.write_bytes(old)
            process = subprocess.Popen(command)
            time.sleep(rng.uniform(0, 1.5 * length_s))
            process.kill()
            process.wait()
            verified = records.ublkbench("baseline", "verify", self.baseline)
            self.assertEqual(verified.returncode, 0, verified.stderr)
            outcomes.add(b"the second" in self.baseline.read_bytes())
        self.assertIn(False, outcomes, "no kill came early enough")

    def test_a_reason_is_needed(self):
        done = records.ublkbench("baseline", "accept", self.baseline, *self.write(boots()))
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=1)
