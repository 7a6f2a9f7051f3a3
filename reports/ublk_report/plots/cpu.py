# SPDX-License-Identifier: MIT
"""What an I/O costs each side."""

from matplotlib.figure import Figure

from ublk_report import slices, style
from ublk_report.records import Cell, Run
from ublk_report.style import Look, Styles

TITLE = "Cost of an I/O, by side"
SEE = ("The shorter the bar, the less an I/O costs; the split says whether the server's or the load's side pays. "
       "Kernel work counts for the side in whose task it runs. Whiskers are each part's lowest and highest sample; "
       "hatched: with probes.")


def applies(run: Run) -> bool:
    return run.has("server_cpu_ns")


def whiskers(cell: Cell, figure: str, median: float) -> Look:
    """From the lowest to the highest sample; one sample has none."""
    if len(cell.values[figure]) < 2:
        return {}
    low, high = cell.spread(figure)
    return {"xerr": [[median - low], [high - median]], "error_kw": {"ecolor": style.theme()["text"], "elinewidth": 1}}


def draw(run: Run, styles: Styles) -> Figure:
    counted = run.has("server_instructions")
    server, load = (("server_instructions", "load_instructions") if counted else ("server_cpu_ns", "load_cpu_ns"))
    where, size = slices.loads(run)[0], run.sizes[0]
    chosen = slices.few_depths(run, 3)
    modes = slices.modes(run)
    figure, axes = style.panels(len(chosen), height=0.9 + 0.35 * len(modes))
    for axis, depth in zip(axes[0], chosen):
        for at, mode in enumerate(modes):
            cells = run.select(mode=mode, depth=depth, block_bytes=size, target=where[0], pattern=where[1])
            if not cells:
                continue
            servers, loads = cells[0].median(server), cells[0].median(load)
            if servers is None or loads is None:
                continue
            look = {"color": styles[mode]["color"], "hatch": style.hatch(mode)}
            axis.barh(at, servers, **look, **whiskers(cells[0], server, servers))
            axis.barh(at, loads, left=servers, alpha=0.45, **look, **whiskers(cells[0], load, loads))
        axis.set_yticks(range(len(modes)), modes)
        axis.set_title(f"qd {depth} {slices.title(run, where, size)}")
        axis.set_xlabel("instructions per I/O" if counted else "CPU ns per I/O")
        axis.grid(visible=False, axis="y")
    axes[0][0].invert_yaxis()
    figure.suptitle("server (full colour) + load (pale)", fontsize=9)
    return figure
