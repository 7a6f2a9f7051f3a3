#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The report of a large run: work counted in calls, not in seconds, grows with the cells and by little for each."""

import itertools
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

import large_record

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "reports"))

try:
    from ublk_report import page, plots, style
    from ublk_report.records import read_run
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

CALLS_OF_A_CELL_MAX = 600


class Size(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def record(self, cells):
        return large_record.write(self.folder / f"{cells}.json", cells, 2)

    def calls(self, path):
        """How many functions are called for a page, except for the writing of its pictures' files."""
        count = 0

        def event(_frame, kind, _argument):
            nonlocal count
            count += kind in ("call", "c_call")

        sys.setprofile(event)
        try:
            run = read_run(path)
            styles = style.mode_styles([run])
            for module in plots.OF_A_RUN:
                if module.applies(run):
                    with style.themed("light"):
                        module.draw(run, styles)
            page.table(run)
        finally:
            sys.setprofile(None)
        return count

    def test_a_cell_costs_the_same_in_any_number(self):
        self.calls(self.record(20))  # what is loaded or cached once
        # From 2000 on all axes of the matrix but the patterns are complete, and so are the pictures.
        sizes = (2000, 3000, 4000)
        calls = [self.calls(self.record(size)) for size in sizes]
        first, second = ((b - a) / 1000 for a, b in itertools.pairwise(calls))
        self.assertLess(first, CALLS_OF_A_CELL_MAX, calls)
        self.assertLess(second, CALLS_OF_A_CELL_MAX, calls)

    def test_the_page_grows_by_table_rows_only(self):
        # Of the pictures the one that has a point for each sample.
        with unittest.mock.patch.object(plots, "OF_A_RUN", (plots.run_order,)):
            pages = [page.render_runs([read_run(self.record(cells))], None, "x") for cells in (2000, 4000)]
        self.assertEqual(pages[1].count("<tr"), pages[0].count("<tr") + 2000)
        self.assertEqual(*[text.count("<figure") for text in pages])
        self.assertLess(len(pages[1]) - len(pages[0]), 2000 * 1000)


if __name__ == "__main__":
    unittest.main(verbosity=1)
