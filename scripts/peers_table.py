#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns the windows of scripts/compare-peers, one JSON line each, into a Markdown table."""

import json
import statistics
import sys

Window = dict[str, float]
Servers = dict[str, list[Window]]

OURS = "ublkbench"
COLUMNS = {"server_ins": "server", "total_ins": "total"}


def read_cells(path: str) -> dict[tuple[str, int], Servers]:
    """By mode and queue depth: in the order of the file, depths ascending."""
    cells: dict[tuple[str, int], Servers] = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            window = json.loads(line)
            servers = cells.setdefault((window["mode"], window["qd"]), {})
            servers.setdefault(window["server"], []).append(window)
    modes = list(dict.fromkeys(mode for mode, _ in cells))
    return dict(sorted(cells.items(), key=lambda cell: (modes.index(cell[0][0]), cell[0][1])))


def spread(windows: list[Window], key: str) -> str:
    values = [window[key] for window in windows]
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def verdict(servers: Servers, key: str) -> str:
    """How far ours is below the best peer; "clear" if our highest window is below the peer's lowest."""
    ours = [window[key] for window in servers[OURS]]
    peers = {name: [window[key] for window in windows] for name, windows in servers.items() if name != OURS}
    best = min(peers.values(), key=statistics.median)
    gain = 100 * (1 - statistics.median(ours) / statistics.median(best))
    clear = max(ours) < min(min(values) for values in peers.values())
    return f"{gain:+.1f} %" + ("" if clear else " (ranges overlap)" if gain > 0 else " (not lower)")


def main(argv: list[str]) -> int:
    cells = read_cells(argv[1])
    names = list(dict.fromkeys(name for servers in cells.values() for name in sorted(servers)))
    names.sort(key=lambda name: (name != OURS, name))
    for key, title in COLUMNS.items():
        print(f"Guest instructions per I/O, {title}:\n")
        print("| mode | qd |", " | ".join(names), "| ours below the best peer |")
        print("|---|---|" + "---|" * (len(names) + 1))
        for (mode, depth), servers in cells.items():
            row = [spread(servers[name], key) if name in servers else "-" for name in names]
            last = verdict(servers, key) if OURS in servers and len(servers) > 1 else "-"
            print(f"| {mode} | {depth} |", " | ".join(row), f"| {last} |")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
