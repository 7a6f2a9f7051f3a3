# SPDX-License-Identifier: MIT
"""How many io commands come and go at once, beside the IOPS that go with it."""

from ublk_report import slices, style

TITLE = "Batches and IOPS"
SEE = ("Each line says which share of the io commands travelled in batches of at most that size; further right is "
       "larger batches. The bars are the same modes' IOPS: larger batches should come with more of them.")


def applies(run):
    return any(cell.batches.get("fetch") for cell in run.cells)


def share(events):
    """(size, share of io commands in batches up to that size)."""
    total = sum(size * count for size, count in events.items())
    below, points = 0, []
    for size in sorted(size for size in events if size):
        below += size * events[size]
        points.append((size, below / total))
    return points


def draw(run, styles):
    load, size, depth = slices.loads(run)[0], run.axis("block_bytes")[0], run.axis("depth")[-1]
    cells = [cell for mode in slices.modes(run)
             for cell in run.select(mode=mode, target=load[0], pattern=load[1], block_bytes=size, depth=depth)]
    figure, axes = style.plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained")
    for axis, name in zip(axes, ("fetch", "commit")):
        for cell in cells:
            points = share(cell.batches.get(name, {}))
            if points:
                x, y = zip(*points)
                axis.step((x[0], *x), (0, *y), where="post", label=cell.mode, color=styles[cell.mode]["color"])
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_xlabel(f"{name} batch (io commands)")
        axis.set_ylim(0, 1.02)
    axes[0].set_ylabel("share of io commands")
    measured = [cell for cell in cells if cell.median("iops")]
    for at, cell in enumerate(measured):
        low, high = cell.spread("iops")
        median = cell.median("iops")
        axes[2].barh(at, median, color=styles[cell.mode]["color"], xerr=[[median - low], [high - median]],
                     error_kw={"ecolor": style.theme()["text"], "elinewidth": 1})
    axes[2].set_yticks(range(len(measured)), [cell.mode for cell in measured])
    axes[2].invert_yaxis()
    axes[2].grid(visible=False, axis="y")
    axes[2].xaxis.set_major_formatter(lambda value, _: style.text.count(value))
    axes[2].tick_params(axis="x", labelrotation=30)
    axes[2].set_xlabel("IOPS")
    figure.suptitle(f"qd {depth} {slices.title(run, load, size)}", fontsize=9)
    style.legend(figure, axes[0])
    return figure
