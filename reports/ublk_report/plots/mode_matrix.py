# SPDX-License-Identifier: MIT
"""How much faster each mode is than the first one, for every depth and size."""

import math
from collections.abc import Sequence

from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from ublk_report import slices, style, text
from ublk_report.records import Cell, Run
from ublk_report.style import Styles

TITLE = "Modes against the first"
SEE = ("The number is IOPS divided by those of the first mode in the same cell: blue above 1 is faster, red below 1 is "
       "slower. These are medians; 'ublkbench compare --columns mode' says which differences are certain.")


def applies(run: Run) -> bool:
    return len(run.modes) > 1


def _iops(cells: Sequence[Cell]) -> float | None:
    return cells[0].median("iops") if cells else None


def _ratio(run: Run, modes: tuple[str, str], load: slices.Load, depth: int, size: int) -> float | None:
    iops, of = (_iops(run.select(mode=mode, target=load[0], pattern=load[1], depth=depth, block_bytes=size))
                for mode in modes)
    return iops / of if iops and of else None


def draw(run: Run, styles: Styles) -> Figure:
    reference, *others = slices.modes(run)
    loads, sizes, depths = slices.loads(run), run.sizes[:12], run.depths[:12]
    figure, axes = style.panels(len(others), len(loads), width=2.6, height=0.9 + 0.32 * len(sizes))
    tables = {}
    for load in loads:
        for mode in others:
            tables[load, mode] = [[_ratio(run, (mode, reference), load, depth, size) for depth in depths]
                                  for size in sizes]
    logs = [abs(math.log2(r)) for table in tables.values() for line in table for r in line if r]
    reach = max([0.5, *logs])
    for row, load in zip(axes, loads):
        for axis, mode in zip(row, others):
            table = tables[load, mode]
            axis.imshow([[math.log2(r) if r else math.nan for r in line] for line in table], cmap="RdBu",
                        norm=TwoSlopeNorm(0, -reach, reach), aspect="auto")
            for y, line in enumerate(table):
                for x, ratio in enumerate(line):
                    shade = abs(math.log2(ratio)) / reach if ratio else 0
                    colour = "#ffffff" if shade > 0.6 else "#1a1a1a" if ratio else style.theme()["muted"]
                    axis.text(x, y, f"{ratio:.2f}" if ratio else "-", ha="center", va="center", fontsize=7,
                              color=colour)
            axis.grid(visible=False)
            axis.set_xticks(range(len(depths)), [str(depth) for depth in depths])
            axis.set_yticks(range(len(sizes)), [text.size(size) for size in sizes])
            axis.set_title(f"{mode}  {slices.title(run, load)}".strip(), fontsize=8)
            axis.set_xlabel("queue depth")
        row[0].set_ylabel("block size")
    figure.suptitle(f"IOPS, relative to {reference}", fontsize=9)
    return figure
