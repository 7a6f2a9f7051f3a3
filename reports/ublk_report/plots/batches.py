# SPDX-License-Identifier: MIT
"""How many io commands come and go at once, beside the IOPS that go with it."""

from matplotlib.figure import Figure

from ublk_report import slices, style, text
from ublk_report.records import Histogram, Run
from ublk_report.style import Styles

TITLE = "Batches and IOPS"
SEE = ("Each line says which share of the io commands travelled in batches of at most that size; further right is "
       "larger batches. The bars are the same modes' IOPS: larger batches should come with more of them. "
       "Whiskers are the lowest and highest sample; dashed and hatched: with probes.")


def applies(run: Run) -> bool:
    return any(cell.batches.get("fetch") for cell in run.cells)


def share(events: Histogram) -> list[tuple[float, float]]:
    """(size, share of io commands in batches up to that size)."""
    total = sum(size * count for size, count in events.items())
    below, points = 0.0, []
    for size in sorted(size for size in events if size):
        below += size * events[size]
        points.append((size, below / total))
    return points


def draw(run: Run, styles: Styles) -> Figure:
    load, size, depth = slices.loads(run)[0], run.sizes[0], run.depths[-1]
    cells = [cell for mode in slices.modes(run)
             for cell in run.select(mode=mode, target=load[0], pattern=load[1], block_bytes=size, depth=depth)]
    figure, (axes,) = style.panels(3, width=3.5, height=2.9, shared=False)
    for axis, name in zip(axes, ("fetch", "commit")):
        for cell in cells:
            points = share(cell.batches.get(name, {}))
            if points:
                x, y = zip(*points)
                axis.step((x[0], *x), (0, *y), where="post", label=cell.mode, color=styles[cell.mode]["color"],
                          linestyle=style.dashes(cell.mode))
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_xlabel(f"{name} batch (io commands)")
        axis.set_ylim(0, 1.02)
    axes[0].set_ylabel("share of io commands")
    measured = [(cell, median) for cell in cells if (median := cell.median("iops"))]
    for at, (cell, median) in enumerate(measured):
        low, high = cell.spread("iops")
        axes[2].barh(at, median, color=styles[cell.mode]["color"], hatch=style.hatch(cell.mode),
                     xerr=[[median - low], [high - median]],
                     error_kw={"ecolor": style.theme()["text"], "elinewidth": 1})
    axes[2].set_yticks(range(len(measured)), [cell.mode for cell, _ in measured])
    axes[2].invert_yaxis()
    axes[2].grid(visible=False, axis="y")
    axes[2].xaxis.set_major_formatter(lambda value, _: text.count(value))
    axes[2].tick_params(axis="x", labelrotation=30)
    axes[2].set_xlabel("IOPS")
    figure.suptitle(f"qd {depth} {slices.title(run, load, size)}", fontsize=9)
    style.legend(figure, axes[0])
    return figure
