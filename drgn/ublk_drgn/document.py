# SPDX-License-Identifier: MIT
"""What a document is made of. No drgn here: rules, text and the fallback work where it is not installed."""

from __future__ import annotations

import typing

Json = dict[str, typing.Any]


def hexadecimal(value: int | None) -> str | None:
    """An address; JSON numbers lose bits."""
    return None if value is None else f"{value:#x}"


def bare(frame: str) -> str:
    """The function of a stack line without offset, module and compiler suffix."""
    return frame.split("+")[0].split(".")[0]
