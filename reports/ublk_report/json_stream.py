# SPDX-License-Identifier: MIT
"""A JSON document member by member, and one long list of it element by element: json.load() would hold all at once."""

import json
import re
from collections.abc import Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found  # no space is a match, too
    return found.end()


def _skip(text: str, at: int, expected: str) -> tuple[int, str]:
    """Where the text goes on behind one of the expected characters, and which of them it was."""
    at = _skip_space(text, at)
    if at == len(text) or text[at] not in expected:
        raise ValueError(f"{' or '.join(repr(c) for c in expected)} expected at character {at}")
    return _skip_space(text, at + 1), text[at]


class Document:
    """An object's text. `members(stream)` yields (name, value); of the member `stream`, a list, the value is an
    iterator that must be exhausted before the next member is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def members(self, stream: str) -> Iterator[tuple[str, Any]]:
        text = self._text
        self._at, _ = _skip(text, 0, "{")
        separator = "}" if text[self._at:self._at + 1] == "}" else ","
        self._at += separator == "}"
        while separator == ",":
            name, at = _decode(text, self._at)
            if not isinstance(name, str):
                raise ValueError(f"a name expected at character {self._at}")
            self._at, _ = _skip(text, at, ":")
            if name == stream:
                yield name, self._elements()
            else:
                value, self._at = _decode(text, self._at)
                yield name, value
            self._at, separator = _skip(text, self._at, ",}")
        if self._at != len(text):
            raise ValueError(f"more than one document: character {self._at}")

    def _elements(self) -> Iterator[Any]:
        text = self._text
        at, _ = _skip(text, self._at, "[")
        separator = "]" if text[at:at + 1] == "]" else ","
        at += separator == "]"
        while separator == ",":
            value, at = _decode(text, at)
            yield value
            at, separator = _skip(text, at, ",]")
        self._at = at
