# SPDX-License-Identifier: MIT
"""What an I/O costs each side."""

from ublk_report import slices, style

TITLE = "Cost of an I/O, by side"
SEE = ("The shorter the bar, the less an I/O costs; the split says whether the server's or the load's side pays. "
       "Kernel work counts for the side in whose task it runs.")


def applies(run):
    return run.has("server_cpu_ns")


def draw(run, styles):
    counted = run.has("server_instructions")
    server, load = (("server_instructions", "load_instructions") if counted else ("server_cpu_ns", "load_cpu_ns"))
    where, size = slices.loads(run)[0], run.axis("block_bytes")[0]
    chosen = slices.few_depths(run, 3)
    modes = slices.modes(run)
    figure, axes = style.panels(len(chosen), height=0.9 + 0.35 * len(modes))
    for axis, depth in zip(axes[0], chosen):
        cells = [next(iter(run.select(mode=mode, depth=depth, block_bytes=size, target=where[0], pattern=where[1])), None)
                 for mode in modes]
        for at, cell in enumerate(cells):
            if cell is None or cell.median(server) is None:
                continue
            colour = styles[cell.mode]["color"]
            axis.barh(at, cell.median(server), color=colour)
            axis.barh(at, cell.median(load), left=cell.median(server), color=colour, alpha=0.45)
        axis.set_yticks(range(len(modes)), modes)
        axis.set_title(f"qd {depth} {slices.title(run, where, size)}")
        axis.set_xlabel("instructions per I/O" if counted else "CPU ns per I/O")
        axis.grid(visible=False, axis="y")
    axes[0][0].invert_yaxis()
    figure.suptitle("server (full colour) + load (pale)", fontsize=9)
    return figure
