# SPDX-License-Identifier: MIT
"""Latency over throughput: the knee, and which mode dominates."""

from ublk_report import slices, style

TITLE = "Latency and throughput"
SEE = ("Right and low is better; each point is a queue depth (the number beside it), full lines are the median, dotted "
       "ones the 99th percentile. A mode whose line lies below and right of another is better at every depth.")


def applies(run):
    return run.has("p50_ns") and len(run.axis("depth")) > 1


def draw(run, styles):
    loads, sizes = slices.loads(run), slices.sizes(run)
    figure, axes = style.panels(len(sizes), len(loads))
    for row, (target, pattern) in zip(axes, loads):
        for axis, block_bytes in zip(row, sizes):
            for mode in slices.modes(run):
                cells = [cell for cell in run.select(mode=mode, target=target, pattern=pattern, block_bytes=block_bytes)
                         if cell.median("p50_ns")]
                cells.sort(key=lambda cell: cell.depth)
                x = [cell.median("iops") for cell in cells]
                for figure_name, line in (("p50_ns", "-"), ("p99_ns", ":")):
                    axis.plot(x, [cell.median(figure_name) for cell in cells], linestyle=line, linewidth=1.3,
                              markersize=4, label=mode if line == "-" else None, **styles[mode])
                for cell, at in zip(cells, x):
                    axis.annotate(str(cell.depth), (at, cell.median("p50_ns")), fontsize=6, xytext=(2, -7),
                                  textcoords="offset points", color=style.theme()["muted"])
            axis.set_yscale("log")
            style.times(axis.yaxis)
            axis.xaxis.set_major_formatter(lambda value, _: style.text.count(value))
            axis.set_xlim(left=0)
            axis.tick_params(axis="x", labelrotation=30)
            axis.set_title(slices.title(run, (target, pattern), block_bytes))
            axis.set_xlabel("IOPS")
        row[0].set_ylabel("latency (virtual: instructions)" if run.counts_instructions else "latency")
    style.legend(figure, axes[0][0])
    return figure
