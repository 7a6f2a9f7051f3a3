# SPDX-License-Identifier: MIT
"""The whole latency distribution, tail first."""

from collections.abc import Iterable

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ublk_report import slices, style
from ublk_report.records import Run
from ublk_report.style import Styles

TITLE = "Latency percentiles"
SEE = ("Each step to the right is a ten times rarer I/O. Lines that part only at the right differ in their tail, not "
       "in their typical I/O. A line ends where fewer than 10 I/Os of all samples together are left. "
       "Dashed: with probes.")
TAIL_MIN = 10


def applies(run: Run) -> bool:
    return any(cell.latency for cell in run.cells)


def curve(slots: Iterable[tuple[float, int]]) -> list[tuple[float, float]]:
    """(1/(1-p), latency) along the slots of a histogram, without the last few I/Os."""
    total = sum(count for _, count in slots)
    below, points = 0, []
    for lowest, count in slots:
        left = total - below
        if left < TAIL_MIN:
            break
        points.append((total / left, max(lowest, 1)))
        below += count
    return points


def draw(run: Run, styles: Styles) -> Figure:
    load, size = slices.loads(run)[0], run.sizes[0]
    chosen = slices.few_depths(run, slices.PANELS_MAX)
    figure, axes = style.panels(len(chosen))
    for axis, depth in zip(axes[0], chosen):
        for mode in slices.modes(run):
            for cell in run.select(mode=mode, depth=depth, block_bytes=size, target=load[0], pattern=load[1]):
                points = curve(sorted(cell.latency.items()))
                if points:
                    axis.step(*zip(*points), where="post", label=mode, color=styles[mode]["color"], linewidth=1.3,
                              linestyle=style.dashes(mode))
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - 1 / x):.10g}" if x >= 1 else ""))
        style.times(axis.yaxis)
        axis.set_title(f"qd {depth} {slices.title(run, load, size)}")
        axis.set_xlabel("percentile")
    axes[0][0].set_ylabel("latency, log (virtual: instructions)" if run.counts_instructions else "latency, log")
    style.legend(figure, axes[0][0])
    return figure
