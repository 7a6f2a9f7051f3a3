# SPDX-License-Identifier: MIT
"""Cost per I/O over block size: what an I/O costs whatever its size, and what its bytes cost."""

import numpy
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ublk_report import slices, style, text
from ublk_report.records import Run
from ublk_report.style import Styles

TITLE = "Cost and block size"
SEE = ("A flat line means that bytes are free. From three sizes on the legend has the fit: a is the cost of the path, "
       "b that of 1024 bytes. Under icount both are instructions, and say nothing about how fast a processor copies.")


def applies(run: Run) -> bool:
    return len(run.sizes) > 1


def fit(points: list[tuple[int, float]]) -> tuple[float, float]:
    """a and b of a + b * bytes, by least squares on relative errors."""
    x, y = numpy.array(points, dtype=float).T
    (b, a) = numpy.polyfit(x, y, 1, w=1 / y)
    return a, b


def draw(run: Run, styles: Styles) -> Figure:
    load, depth = slices.loads(run)[0], run.depths[-1]
    sizes = run.sizes
    figure, axes = style.panels(1, width=6.5, height=3.4)
    axis = axes[0][0]
    for mode in slices.modes(run):
        points = [(cell.block_bytes, median)
                  for cell in run.select(mode=mode, depth=depth, target=load[0], pattern=load[1])
                  if (median := cell.median("ns_per_io"))]
        if len(points) < 2:
            continue
        points.sort()
        # Two points determine the line; only a third shows whether it is one.
        words = ""
        if len(points) > 2:
            a, b = fit(points)
            words = f": a {text.time_ns(max(a, 0))}, b {b * 1024:.1f} ns/KiB"
        axis.plot(*zip(*points), label=mode + words, linewidth=1.3, markersize=4, **style.line(mode, styles))
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(sizes, [text.size(size) for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())
    style.times(axis.yaxis)
    axis.set_xlabel("block size")
    axis.set_ylabel("time per I/O, log" + (" (virtual: instructions)" if run.counts_instructions else ""))
    axis.set_title(f"qd {depth} {slices.title(run, load)}")
    axis.legend(fontsize=7)
    return figure
