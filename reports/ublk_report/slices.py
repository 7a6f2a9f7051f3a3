# SPDX-License-Identifier: MIT
"""Which part of a large matrix a picture shows, and the words that say so."""

from __future__ import annotations

import functools
import typing

from ublk_report import text

if typing.TYPE_CHECKING:
    from ublk_report.records import Run

Load = tuple[str, str]  # target and pattern

PANELS_MAX = 4
LOADS_MAX = 2
MODES_MAX = 12


@functools.cache  # a picture asks for each panel, of a run that has thousands of cells
def all_loads(run: Run) -> list[Load]:
    """(target, pattern) of every load, in the order of the plan."""
    return list(dict.fromkeys((cell.target, cell.pattern) for cell in run.cells if not cell.is_control))


def loads(run: Run) -> list[Load]:
    """As many of them as fit."""
    return all_loads(run)[:LOADS_MAX]


def sizes(run: Run) -> list[int]:
    return run.sizes[:PANELS_MAX]


def modes(run: Run) -> list[str]:
    return run.modes[:MODES_MAX]


def few_depths(run: Run, most: int) -> list[int]:
    """The depths, or the least, the middle and the greatest of more than `most`."""
    found = run.depths
    return found if len(found) <= most else [found[0], found[len(found) // 2], found[-1]]


def with_histograms(run: Run) -> set[str]:
    """The ids of the cells whose histograms a picture shows: of the first load and block size."""
    if not run.modes:
        return set()
    target, pattern = loads(run)[0]
    block_bytes = run.sizes[0]
    return {cell.id for mode in modes(run) for depth in (*few_depths(run, PANELS_MAX), run.depths[-1])
            for cell in run.select(mode=mode, depth=depth, block_bytes=block_bytes, target=target, pattern=pattern)}


def left_out(run: Run) -> str:
    """What the pictures do not show, as a sentence; empty where they show all."""
    parts = []
    for shown, there, what in ((len(loads(run)), len(all_loads(run)), "loads (target and pattern)"),
                               (len(sizes(run)), len(run.sizes), "block sizes"),
                               (len(modes(run)), len(run.modes), "modes")):
        if shown < there:
            parts.append(f"{shown} of {there} {what}")
    return f"The pictures show {', '.join(parts)}; the table has all." if parts else ""


def title(run: Run, load: Load, block_bytes: int | None = None) -> str:
    """What is special about a panel; what all share is said above the page."""
    target, pattern = load
    words = []
    if len(loads(run)) > 1:
        words += [target, pattern]
    if block_bytes is not None:
        words.append(f"bs {text.size(block_bytes)}")
    return " ".join(words)
