# SPDX-License-Identifier: MIT
"""A page of one of our documents: of Markdown as docs/ has it. A table becomes a list, as a terminal is narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .program_page import see_also
from .roff import as_typed, bold, escaped, heading, line, title


def inline(text: str) -> str:
    """Code and what is strong in bold; of a link its text."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*|(?<!\w)\*[^*\s][^*]*\*)", text)
    shown = "".join(bold(part.strip("`*")) if at % 2 else escaped(part) for at, part in enumerate(parts))
    return shown if not shown.startswith((".", "'")) else r"\&" + shown


def _cells(row: str) -> list[str]:
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def _table(rows: list[str]) -> str:
    names = _cells(rows[0])
    text = ""
    for row in rows[2:]:
        first, *others = _cells(row)
        text += f".TP\n{inline(first)}\n"
        # The second cell is what is said of the first; what is further needs its name, unless there is none.
        said = [inline(cell) if len(others) == 1 else f"{escaped(name)}: {inline(cell)}"
                for name, cell in zip(names[1:], others) if cell not in ("", "\N{EN DASH}")]
        text += "\n.br\n".join(said or [r"\&"]) + "\n"
    return text


def _block(block: str) -> str:
    rows = block.split("\n")
    if found := re.match(r"(#+) (.*)", rows[0]):
        return heading("SH", found[2].upper()) if len(found[1]) < 3 else heading("SS", found[2])
    if rows[0].startswith("```"):
        return ".PP\n" + as_typed("\n".join(rows[1:-1]))
    if rows[0].startswith("|"):
        return _table(rows)
    if rows[0].startswith("- "):
        items = re.split(r"(?m)^- ", block)[1:]
        return "".join(f".IP \\(bu 2\n{inline(' '.join(item.split()))}\n" for item in items)
    return f".PP\n{inline(' '.join(block.split()))}\n"


def blocks(text: str) -> Iterator[str]:
    """Paragraphs, lists, tables and headings; code with its empty lines."""
    block: list[str] = []
    for row in [*text.split("\n"), ""]:
        in_code = bool(block) and block[0].startswith("```")
        starts = not in_code and (row.startswith(("#", "```")) or not row)
        if starts and block:
            yield "\n".join(block)
            block = []
        if row or in_code:
            block.append(row)
        is_last = len(block) > 1 and row.startswith("```") if in_code else row.startswith("#")
        if is_last:
            yield "\n".join(block)
            block = []


def page(text: str, name: str, section: int, what: str, version: str) -> str:
    _, _, body = text.partition("\n")  # its title is the page's name
    return (title(name, section, version) + heading("SH", "NAME") + f"{line(name)} \\- {escaped(what)}\n"
            + heading("SH", "DESCRIPTION") + "".join(map(_block, blocks(body))) + see_also(name))
