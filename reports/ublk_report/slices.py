# SPDX-License-Identifier: MIT
"""Which part of a large matrix a picture shows, and the words that say so."""

import functools

from ublk_report import text

PANELS_MAX = 4
LOADS_MAX = 2
MODES_MAX = 12


@functools.cache  # a picture asks for each panel, of a run that has thousands of cells
def all_loads(run):
    """(target, pattern) of every load, in the order of the plan."""
    return list(dict.fromkeys((cell.target, cell.pattern) for cell in run.cells if not cell.is_control))


def loads(run):
    """As many of them as fit."""
    return all_loads(run)[:LOADS_MAX]


def sizes(run):
    return run.axis("block_bytes")[:PANELS_MAX]


def modes(run):
    return run.axis("mode")[:MODES_MAX]


def few_depths(run, most):
    """The depths, or the least, the middle and the greatest of more than `most`."""
    found = run.axis("depth")
    return found if len(found) <= most else [found[0], found[len(found) // 2], found[-1]]


def with_histograms(run):
    """The ids of the cells whose histograms a picture shows: of the first load and block size."""
    if not run.axis("mode"):
        return set()
    target, pattern = loads(run)[0]
    block_bytes = run.axis("block_bytes")[0]
    return {cell.id for mode in modes(run) for depth in (*few_depths(run, PANELS_MAX), run.axis("depth")[-1])
            for cell in run.select(mode=mode, depth=depth, block_bytes=block_bytes, target=target, pattern=pattern)}


def left_out(run):
    """What the pictures do not show, as a sentence; empty where they show all."""
    parts = []
    for shown, there, what in ((len(loads(run)), len(all_loads(run)), "loads (target and pattern)"),
                               (len(sizes(run)), len(run.axis("block_bytes")), "block sizes"),
                               (len(modes(run)), len(run.axis("mode")), "modes")):
        if shown < there:
            parts.append(f"{shown} of {there} {what}")
    return f"The pictures show {', '.join(parts)}; the table has all." if parts else ""


def title(run, load, block_bytes=None):
    """What is special about a panel; what all share is said above the page."""
    target, pattern = load
    words = []
    if len(loads(run)) > 1:
        words += [target, pattern]
    if block_bytes is not None:
        words.append(f"bs {text.size(block_bytes)}")
    return " ".join(words)
