# SPDX-License-Identifier: MIT
"""IOPS over queue depth, a line a mode; null_blk as the ceiling."""

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ublk_report import slices, style
from ublk_report.records import Cell, Run
from ublk_report.style import Styles

TITLE = "IOPS and queue depth"
SEE = ("Where a line flattens, more I/Os in flight no longer help; the distance to the grey line is what ublk costs "
       "above a block device without it. Bands are the lowest and highest sample; a cell of one sample has none. "
       "Dashed: with probes attached.")


def applies(run: Run) -> bool:
    return bool(run.depths)


def _line(axis: Axes, cells: Iterable[Cell], depths: list[int], **look: Any) -> None:
    points = [(cell.depth, median, *cell.spread("iops")) for cell in cells
              if cell.depth in depths and (median := cell.median("iops")) is not None]
    if not points:
        return
    points.sort()
    x, medians, low, high = zip(*points)
    axis.plot(x, medians, linewidth=1.4, markersize=4, **look)
    axis.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)


def draw(run: Run, styles: Styles) -> Figure:
    loads, sizes, depths = slices.loads(run), slices.sizes(run), run.depths
    figure, axes = style.panels(len(sizes), len(loads))
    for row, load in zip(axes, loads):
        for axis, block_bytes in zip(row, sizes):
            target, pattern = load
            for mode in slices.modes(run):
                cells = run.select(mode=mode, target=target, pattern=pattern, block_bytes=block_bytes)
                _line(axis, cells, depths, label=mode, **style.line(mode, styles))
            controls = run.select(control=True, pattern=pattern, block_bytes=block_bytes)
            _line(axis, controls, depths, label=controls[0].mode if controls else "", color=style.theme()["muted"],
                  linestyle="--", marker="x")
            style.powers_of_two(axis, depths)
            style.counts(axis)
            axis.set_ylim(bottom=0)
            axis.set_title(slices.title(run, load, block_bytes))
            axis.set_xlabel("queue depth")
        row[0].set_ylabel("IOPS")
    style.legend(figure, axes[0][0])
    return figure
