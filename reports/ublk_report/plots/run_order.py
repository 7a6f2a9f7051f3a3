# SPDX-License-Identifier: MIT
"""Samples in the order in which they were taken: a drifting machine shows."""

from ublk_report import slices, style

TITLE = "Samples in the order they were taken"
SEE = ("Each point is a sample, relative to its cell's median. A trend, or a step that all cells share, is the machine "
       "and not the mode; the grey crosses are the control, which runs no ublk.")


def applies(run):
    return any(cell.samples > 1 for cell in run.cells)


def draw(run, styles):
    figure, axes = style.panels(1, width=9, height=2.8)
    axis = axes[0][0]
    named = set()
    shown = set(slices.modes(run))
    for cell in run.cells:
        if cell.samples < 2 or not (cell.is_control or cell.mode in shown):
            continue
        median = cell.median("iops")
        look = ({"color": style.theme()["muted"], "marker": "x"} if cell.is_control
                else {"color": styles[cell.mode]["color"], "marker": styles[cell.mode]["marker"]})
        axis.scatter(cell.orders, [100 * (value / median - 1) for value in cell.values["iops"]], s=12,
                     label=cell.mode if cell.mode not in named else None, linewidths=0.8, **look)
        named.add(cell.mode)
    axis.axhline(0, color=style.theme()["muted"], linewidth=0.8)
    axis.set_xlabel("sample")
    axis.set_ylabel("IOPS, % from the cell's median")
    style.legend(figure, axis)
    return figure
