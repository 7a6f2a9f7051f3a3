# SPDX-License-Identifier: MIT
"""Latency over throughput: the knee, and which mode dominates."""

from matplotlib.figure import Figure

from ublk_report import slices, style, text
from ublk_report.records import Run
from ublk_report.style import Styles

TITLE = "Latency and throughput"
SEE = ("Right and low is better; each point is a queue depth (the number beside it), full lines are the median "
       "(dashed: with probes attached), dotted ones the 99th percentile, which is left out where a sample has fewer "
       "than 1000 I/Os. A mode whose line lies below and right of another is better at every depth.")


def applies(run: Run) -> bool:
    return run.has("p50_ns") and len(run.depths) > 1


def draw(run: Run, styles: Styles) -> Figure:
    loads, sizes = slices.loads(run), slices.sizes(run)
    figure, axes = style.panels(len(sizes), len(loads))
    for row, (target, pattern) in zip(axes, loads):
        for axis, block_bytes in zip(row, sizes):
            for mode in slices.modes(run):
                cells = sorted(run.select(mode=mode, target=target, pattern=pattern, block_bytes=block_bytes),
                               key=lambda cell: cell.depth)
                look = style.line(mode, styles)
                for figure_name in ("p50_ns", "p99_ns"):
                    typical = figure_name == "p50_ns"
                    points = [(cell.depth, iops, latency) for cell in cells
                              if (iops := cell.median("iops")) and (latency := cell.median(figure_name))
                              and (typical or not cell.is_thin(figure_name))]
                    if points:
                        _, x, y = zip(*points)
                        axis.plot(x, y, linewidth=1.3, markersize=4, label=mode if typical else None,
                                  **(look if typical else {**look, "linestyle": ":"}))
                    for depth, iops, latency in points if typical else ():
                        axis.annotate(str(depth), (iops, latency), fontsize=6, xytext=(2, -7),
                                      textcoords="offset points", color=style.theme()["muted"])
            axis.set_yscale("log")
            style.times(axis.yaxis)
            axis.xaxis.set_major_formatter(lambda value, _: text.count(value))
            axis.set_xlim(left=0)
            axis.tick_params(axis="x", labelrotation=30)
            axis.set_title(slices.title(run, (target, pattern), block_bytes))
            axis.set_xlabel("IOPS")
        row[0].set_ylabel("latency, log (virtual: instructions)" if run.counts_instructions else "latency, log")
    style.legend(figure, axes[0][0])
    return figure
