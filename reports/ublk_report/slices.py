# SPDX-License-Identifier: MIT
"""Which part of a large matrix a picture shows, and the words that say so."""

from ublk_report import text

PANELS_MAX = 4
MODES_MAX = 12


def loads(run):
    """(target, pattern) of every load, at most so many as fit; and what was left out."""
    found = list(dict.fromkeys((cell.target, cell.pattern) for cell in run.cells if not cell.is_control))
    return found[:2]


def sizes(run):
    return run.axis("block_bytes")[:PANELS_MAX]


def modes(run):
    return run.axis("mode")[:MODES_MAX]


def left_out(run):
    """What the pictures do not show, as a sentence; empty where they show all."""
    parts = []
    all_loads = {(cell.target, cell.pattern) for cell in run.cells if not cell.is_control}
    for shown, there, what in ((len(loads(run)), len(all_loads), "loads (target and pattern)"),
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
