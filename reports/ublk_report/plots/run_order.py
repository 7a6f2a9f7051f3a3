# SPDX-License-Identifier: MIT
"""Samples in the order in which they were taken: a drifting machine shows."""

import statistics
from collections.abc import Iterable

from matplotlib.figure import Figure

from ublk_report import slices, style
from ublk_report.records import Cell, Run
from ublk_report.style import Styles

TITLE = "Samples in the order they were taken"
SEE = ("Each point is a sample, relative to its cell's median. A trend, or a step that all cells share, is the machine "
       "and not the mode; the grey crosses are the control, which runs no ublk. Hollow: with probes.")


VECTORS_MAX = 3000  # more points than that are pixels, or the page grows with every sample


def applies(run: Run) -> bool:
    return any(cell.samples > 1 for cell in run.cells)


def _points(cells: Iterable[Cell]) -> tuple[list[int], list[float]]:
    """(order, % from the cell's median) of every sample."""
    orders: list[int] = []
    shifts: list[float] = []
    for cell in cells:
        values = cell.values["iops"]
        median = statistics.median(values)
        orders += cell.orders
        shifts += [100 * (value / median - 1) for value in values]
    return orders, shifts


def draw(run: Run, styles: Styles) -> Figure:
    figure, axes = style.panels(1, width=9, height=2.8)
    axis = axes[0][0]
    by_mode = {mode: styles[mode] for mode in slices.modes(run)}
    for control in run.select(control=True):
        by_mode[control.mode] = {"color": style.theme()["muted"], "marker": "x"}
    groups: dict[str, list[Cell]] = {mode: [] for mode in by_mode}
    for cell in run.cells:
        if cell.samples > 1 and cell.mode in groups:
            groups[cell.mode].append(cell)
    many = sum(cell.samples for cells in groups.values() for cell in cells) > VECTORS_MAX
    for mode, cells in groups.items():
        if cells:
            hollow = {"facecolors": "none", "edgecolors": by_mode[mode]["color"]} if style.is_probed(mode) else \
                {"color": by_mode[mode]["color"]}
            axis.scatter(*_points(cells), s=2 if many else 12, alpha=0.4 if many else None, linewidths=0.8, label=mode,
                         rasterized=many, marker=by_mode[mode]["marker"], **hollow)
    axis.axhline(0, color=style.theme()["muted"], linewidth=0.8)
    axis.set_xlabel("sample")
    axis.set_ylabel("IOPS, % from the cell's median")
    style.legend(figure, axis)
    return figure
