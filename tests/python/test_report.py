#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublk-report: one page that needs nothing but itself, says what it shows, and trusts no name in a record."""

import html.parser
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from typing import Any

import records

try:
    import jinja2  # noqa: F401 (the report needs them)
    import matplotlib  # noqa: F401
    import numpy
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

REPORT = pathlib.Path(__file__).resolve().parents[2] / "reports/ublk-report"
EVIL = "<script>alert('x')</script>&\"'"


def matrix(target="null", modes=("copy", "batch,auto_zc"), depths=(1, 128), sizes=(4096, 65536)):
    cells = [records.cell(mode, depth, target=target, block_bytes=size)
             for size in sizes for depth in depths for mode in modes]
    return cells + [records.cell(depth=depth, target="null_blk", kind="control", block_bytes=size)
                    for size in sizes for depth in depths]


def small(target="null", **options):
    """A record of two cells: few of the pictures apply, and an emulator draws slowly."""
    return full_record(target, matrix(target, ("copy",), (8,), (4096,)), **options)


def full_record(target="null", cells=None, slower=1.0, n=5, **options):
    cells = cells or matrix(target)
    samples: list[dict[str, Any]] = []
    for at in range(n):
        for cell in cells:
            sample = records.sample(cell, at, ns_per_io=10000 * slower * (1 + 0.001 * at))
            sample["order"] = len(samples)
            sample["load"]["latency_ns"]["slots"] = [[1000 * step, 4000 // step ** 2 + 1] for step in range(1, 40)]
            samples.append(sample)
    return records.record(cells, samples, **options)


class Page(html.parser.HTMLParser):
    """What a browser would load, run and show."""

    def __init__(self, text):
        super().__init__()
        self.references, self.scripts, self.images, self.cells, self.handlers = [], [], [], [], []
        self.figures = []  # of each: its heading, caption, and the text in place of the picture
        self.text, self._in = "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._in.append(tag)
        for name, value in attributes:
            if name in ("src", "srcset", "href", "action", "data", "poster"):
                self.references.append(value)
            if name.startswith("on"):
                self.handlers.append(name)
        if tag == "figure":
            self.figures.append({"h2": "", "figcaption": "", "alt": ""})
        if tag == "img":
            self.figures[-1]["alt"] = dict(attributes)["alt"]
            self.images.append(dict(attributes))
            self._in.pop()
        elif tag in ("meta", "source", "br"):
            self._in.pop()

    def handle_endtag(self, tag):
        if tag in self._in:
            while self._in.pop() != tag:
                pass

    def handle_data(self, data):
        if self._in and self._in[-1] == "script":
            self.scripts.append(data)
        elif self._in and self._in[-1] != "style":
            self.text += data
            if "figure" in self._in and self._in[-1] in ("h2", "figcaption"):
                self.figures[-1][self._in[-1]] += data
            if self._in[-1] == "td":
                self.cells.append(data)


class ReportCase(unittest.TestCase):
    folder: pathlib.Path

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)

    def report(self, *words, exit=0):
        done = subprocess.run([sys.executable, REPORT, *map(str, words)], capture_output=True, text=True, timeout=600,
                              cwd=self.folder, env={**os.environ, "UBLKBENCH": str(records.UBLKBENCH.resolve()),
                                                    "MPLCONFIGDIR": str(self.folder)})
        self.assertEqual(done.returncode, exit, done.stdout + done.stderr)
        return done

    def page(self, *words, exit=0):
        target = self.folder / "page.html"
        self.report("--html", target, *words, exit=exit)
        return target.read_text()


class OfARun(ReportCase):
    html: str
    parsed: Page

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        path = records.write(cls.folder / "run.json", full_record())
        cls.html = cls().page(path, "--plots", cls.folder / "plots")
        cls.parsed = Page(cls.html)

    def runTest(self):
        """For setUpClass, which uses an instance."""

    def test_nothing_comes_from_elsewhere(self):
        self.assertGreater(len(self.parsed.references), 8)
        for reference in self.parsed.references:
            self.assertTrue(reference.startswith("data:image/svg+xml;base64,"), reference[:60])
        self.assertIn("default-src 'none'", self.html)
        self.assertNotRegex(self.html, r"@import|url\(")
        self.assertEqual(self.parsed.handlers, [])

    def test_all_is_there_without_the_script(self):
        without = Page(re.sub(r"<script>.*</script>", "", self.html, flags=re.DOTALL))
        self.assertEqual(without.text, self.parsed.text)
        self.assertEqual(len(self.parsed.scripts), 1)
        for cell in matrix():
            self.assertIn(cell["mode"] or "(null_blk)", self.parsed.cells)

    def test_each_picture_says_what_to_see(self):
        sys.path.insert(0, str(REPORT.parent))
        from ublk_report import plots
        self.assertEqual(self.parsed.figures, [
            {"h2": plot.TITLE, "figcaption": plot.SEE, "alt": f"{plot.TITLE}. {plot.SEE}"} for plot in plots.OF_A_RUN])
        self.assertEqual(len(self.parsed.images), len({plot.SEE for plot in plots.OF_A_RUN}))

    def test_it_says_what_it_is_of(self):
        for words in ("7.3.4", "aaaaaaaaaaaa", "closed loop", "kernel.release", "ublkbench"):
            self.assertIn(words, self.parsed.text)
        self.assertIn("instructions, not seconds", self.parsed.text)

    def test_pictures_stand_beside_it(self):
        names = {path.name for path in (self.folder / "plots").iterdir()}
        for name in ("iops_vs_depth", "mode_matrix", "latency_vs_iops", "percentiles", "batches", "cpu", "size_cost",
                     "run_order"):
            self.assertLessEqual({f"{name}.png", f"{name}.svg"}, names)
            self.assertTrue((self.folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG"))


def probed(cell, probes="batch,latency"):
    return {**cell, "probes": probes, "id": f"{cell['id']} probes={probes}"}


class OfProbedCells(ReportCase):
    """A cell with probes is another series than the same without, never joined to it."""

    path: pathlib.Path
    parsed: Page

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        bare = [records.cell("copy", depth) for depth in (1, 128)]
        document = full_record(cells=[*bare, *map(probed, bare)])
        for sample in document["samples"]:
            sample["load"]["latency_ns"]["count"] = 500
        path = records.write(cls.folder / "probed.json", document)
        cls.parsed = Page(cls().page(path, "--plots", cls.folder / "plots"))
        cls.path = path

    def runTest(self):
        """For setUpClass, which uses an instance."""

    def test_labels_are_distinct(self):
        for label in ("copy", "copy + probes batch,latency"):
            self.assertEqual(self.parsed.cells.count(label), 2)

    def test_lines_are_distinct_and_not_joined(self):
        sys.path.insert(0, str(REPORT.parent))
        from ublk_report import records as read
        from ublk_report import style
        from ublk_report.plots import iops_vs_depth
        run = read.read_run(self.path)
        styles = style.mode_styles([run])
        (axis,) = iops_vs_depth.draw(run, styles).axes
        lines = {line.get_label(): line for line in axis.lines}
        self.assertEqual(set(lines), {"copy", "copy + probes batch,latency"})
        for line in lines.values():
            self.assertEqual(numpy.asarray(line.get_xdata()).tolist(), [1, 128])
        self.assertNotEqual(*(line.get_linestyle() for line in lines.values()))

    def test_a_percentile_of_too_few_ios_says_so(self):
        self.assertIn("p99 needs 1000, p99.9 needs 10000", self.parsed.text)
        self.assertEqual(sum(" of 500" in cell for cell in self.parsed.cells), 8)  # p99 and p99.9 of four cells
        firm = Page(self.page(records.write(self.folder / "firm.json", small())))
        self.assertNotIn("of N", firm.text)


class Names(ReportCase):
    def test_names_with_html_in_them_are_text(self):
        # A dollar would begin a formula where mathematics is read in names.
        name = EVIL + "$a_{b$"
        evil = records.write(self.folder / "evil.json", small(target=name, argv=["ublkbench", "-t", name]))
        parsed = Page(self.page(evil))
        self.assertIn(f"Target {name}, randread.", parsed.text)
        self.assertIn(shlex.quote(name), parsed.text)
        self.assertEqual(len(parsed.scripts), 1)
        self.assertNotIn("alert", parsed.scripts[0])


class OfSeveral(ReportCase):
    def test_one_page_shows_each(self):
        one = records.write(self.folder / "one.json", small(argv=["ublkbench", "--seed", "1"]))
        other = records.write(self.folder / "other.json", small(target="mem:64M", argv=["ublkbench", "--seed", "2"]))
        alone = Page(self.page(one))
        done = self.report(one, other, "--plots", self.folder / "several")
        self.assertEqual(done.stdout, "report.html\n")
        both = Page((self.folder / "report.html").read_text())
        self.assertEqual(len(both.images), 2 * len(alone.images))
        for words in (str(one), str(other), "Target null", "Target mem:64M", "--seed 1", "--seed 2"):
            self.assertIn(words, both.text)
        self.assertEqual(both.text.count("All cells"), 2)
        names = [path.name for path in (self.folder / "several").iterdir()]
        for at in (1, 2):
            self.assertIn(f"{at}-iops_vs_depth.png", names)

    def test_a_bad_one_among_them_is_named(self):
        good = records.write(self.folder / "good.json", small())
        (self.folder / "bad.json").write_text("{")
        self.assertIn("bad.json", self.report(good, "bad.json", "--html", "none.html", exit=2).stderr)
        self.assertFalse((self.folder / "none.html").exists())

    def test_words_for_compare_need_it(self):
        good = records.write(self.folder / "good.json", small())
        self.assertIn("--compare", self.report(good, good, "--", "--vary", "kernel", exit=2).stderr)
        self.assertIn("two records", self.report("--compare", good, exit=2).stderr)


class Probed(ReportCase):
    def test_all_histograms_of_the_probes_are_there(self):
        document = small()
        for at, sample in enumerate(document["samples"][:2]):
            sample["probe"] = {"record": {}, "server": None, "text": f"@fetch_batch: sample {at} |@@@ |"}
        cells = {sample["cell"] for sample in document["samples"][:2]}
        parsed = Page(self.page(records.write(self.folder / "probed.json", document)))
        self.assertIn("What the probes counted", parsed.text)
        self.assertEqual(parsed.text.count("@fetch_batch"), len(cells))


class BadInput(ReportCase):
    def test_each_is_one_line_and_leaves_no_page(self):
        good = json.dumps(full_record())
        for what, text, says in (("truncated", good[:999], "is damaged"), ("empty", "", "is damaged"),
                                 ("other", good.replace("ublkbench.run/1", "x/1"), "its schema is 'x/1'"),
                                 ("lacking", good.replace('"measured_ios"', '"ios"'), "'measured_ios' is missing"),
                                 ("array", "[]", "is damaged")):
            with self.subTest(what):
                path = self.folder / "bad.json"
                path.write_text(text)
                done = self.report(path, exit=2)
                self.assertIn(says, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertFalse((self.folder / "bad.html").exists())
        self.assertIn("No such file", self.report("nothing.json", exit=2).stderr)

    def test_a_run_without_a_good_sample(self):
        document = small()
        for sample in document["samples"]:
            sample |= {"status": "failed", "reason": "hang: nothing came back"}
        text = self.page(records.write(self.folder / "failed.json", document))
        self.assertIn("sample(s) failed", text)
        self.assertIn("hang: nothing came back", text)


class OfAComparison(ReportCase):
    def setUp(self):
        self.before = records.write(self.folder / "before.json", small())
        self.after = records.write(self.folder / "after.json", small(slower=1.1, commit="b" * 40))

    def test_verdicts_are_those_of_compare(self):
        parsed = Page(self.page("--compare", self.before, self.after, "--", "--figure", "ns_per_io"))
        self.assertEqual(parsed.cells.count("worse"), 2)
        self.assertIn("The control moved", parsed.text)

    def test_unlike_environments_are_refused(self):
        fields = json.loads(json.dumps(records.KEY_FIELDS))
        fields["kernel"]["release"] = "6.12"
        other = records.write(self.folder / "other.json", small(key_fields=fields))
        done = self.report("--compare", self.before, other, "--html", "no.html", exit=4)
        self.assertIn("env.kernel.release", done.stderr)
        self.assertFalse((self.folder / "no.html").exists())


if __name__ == "__main__":
    unittest.main(verbosity=1)
