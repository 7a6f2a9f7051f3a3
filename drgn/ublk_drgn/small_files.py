# SPDX-License-Identifier: MIT
"""Files of /proc and /sys as text."""

from __future__ import annotations

import pathlib


def text(path: pathlib.Path) -> str | None:
    """Its contents, or None if it is not there or not for us."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
