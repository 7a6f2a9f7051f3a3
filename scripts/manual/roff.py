# SPDX-License-Identifier: MIT
"""Text as roff, for the man macros."""

from __future__ import annotations

import re

SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti",
           "\N{EN DASH}": r"\(en", "\N{HORIZONTAL ELLIPSIS}": "..."}


def escaped(text: str) -> str:
    """Within a line. Each quote is one that is typed, so that what is copied works."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def line(text: str) -> str:
    """A line of its own: a dot at its begin is no request. (A quote is escaped anyway.)"""
    return (r"\&" if text.startswith(".") else "") + escaped(text)


def bold(text: str) -> str:
    return rf"\fB{escaped(text)}\fR"


def italic(text: str) -> str:
    return rf"\fI{escaped(text)}\fR"


def heading(name: str, text: str) -> str:
    """.SH or .SS: its text is one word for roff."""
    return f'.{name} "{line(text).replace(chr(34), chr(92) + "(dq")}"\n'


def filled(text: str) -> str:
    """Prose: one paragraph's lines."""
    return "".join(line(each.strip()) + "\n" for each in text.splitlines() if each.strip())


def as_typed(text: str) -> str:
    """An example: its lines stay as they are."""
    rows = "".join((line(row) if row.strip() else "") + "\n" for row in text.splitlines())
    return f".RS 4\n.nf\n{rows}.fi\n.RE\n"


def tagged(tag: str, text: str) -> str:
    """A tag that is roff already, and its text."""
    return f".TP\n{tag}\n{filled(text) or chr(92) + '&' + chr(10)}"


def title(name: str, section: int, version: str) -> str:
    """No date: pages of one source are the same whenever they are made; the version says how old they are."""
    return (f'.\\" SPDX-License-Identifier: MIT\n.\\" Made by scripts/make_manual.py: do not edit.\n'
            f'.TH {re.sub("-", chr(92) + "-", name.upper())} {section} "" "ublkbench {version}" "ublkbench manual"\n'
            # Not hyphenated: a word that is broken cannot be searched for.
            ".nh\n.ad l\n")


def finished(text: str) -> str:
    """A heading begins a paragraph by itself; linters say so."""
    return re.sub(r"(?m)^(\.S[HS] .*\n)\.PP\n", r"\1", text)
