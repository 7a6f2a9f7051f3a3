# SPDX-License-Identifier: MIT
"""Ratios with their intervals, one row a cell: the first picture of a comparison."""

import math
from typing import Any

from matplotlib.figure import Figure

from ublk_report import style

TITLE = "Ratios"
SEE = ("A dot is the ratio to the reference, its bar the interval; inside the grey band a change is too small to "
       "count. Only where the whole bar lies beyond the band's middle and the dot outside the band is a cell called "
       "better or worse.")
ROWS_MAX = 40
COLOURS = {"worse": "#D55E00", "better": "#0072B2", "same": "#7F7F7F", "unclear": "#B8A800", "unmeasurable": "#CC79A7"}


def entries(comparison: dict[str, Any], column: int) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for row in comparison["rows"] + comparison["controls"]:
        judged = row["columns"][column].get("against_first")
        if judged and judged["ratio"] is not None:
            found.append((row["cell"], judged))
    return sorted(found, key=lambda entry: -abs(math.log(entry[1]["ratio"])))


def draw(comparison: dict[str, Any], column: int) -> Figure:
    shown = entries(comparison, column)[:ROWS_MAX]
    figure, axes = style.panels(1, width=8.5, height=0.8 + 0.24 * len(shown))
    axis = axes[0][0]
    change = comparison["rule"]["change"]
    axis.axvspan(100 * (1 / (1 + change) - 1), 100 * change, color=style.theme()["grid"], alpha=0.7, linewidth=0)
    axis.axvline(0, color=style.theme()["muted"], linewidth=0.8)
    named = set()
    for at, (_, judged) in enumerate(shown):
        verdict = judged["verdict"]
        if judged["low"] is not None:
            axis.plot([100 * (judged["low"] - 1), 100 * (judged["high"] - 1)], [at, at], color=COLOURS[verdict],
                      linewidth=1.6)
        axis.plot(100 * (judged["ratio"] - 1), at, "o", markersize=4, color=COLOURS[verdict],
                  label=verdict if verdict not in named else None)
        named.add(verdict)
    axis.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=7)
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(f"{comparison['figure']} of {comparison['columns'][column]}, % from {comparison['columns'][0]}")
    axis.legend(fontsize=7)
    return figure
