# SPDX-License-Identifier: MIT
"""Dataclasses to JSON and back, by their fields. No drgn here: rules, text and the fallback work without it."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing

Json = dict[str, typing.Any]
Convert = typing.Callable[[typing.Any], typing.Any]
T = typing.TypeVar("T")

# An address or a word of flags: a hexadecimal string in the document, since JSON numbers lose bits.
Hex = typing.Annotated[int, "hexadecimal"]


def absent() -> typing.Any:
    """A field that is left out of the document while it is None."""
    return dataclasses.field(default=None, metadata={"absent": True})


def inlined(default: typing.Callable[[], typing.Any]) -> typing.Any:
    """An object whose fields stand among those of its owner, all or (while it equals the default) none of them."""
    return dataclasses.field(default_factory=default, metadata={"inlined": True})


def hidden(default: typing.Any) -> typing.Any:
    """A field that is no part of the document."""
    return dataclasses.field(default=default, metadata={"hidden": True})


def hexadecimal(value: int | None) -> str | None:
    return None if value is None else f"{value:#x}"


def bare(frame: str) -> str:
    """The function of a stack line without offset, module and compiler suffix."""
    return frame.split("+")[0].split(".")[0]


def to_json(value: typing.Any) -> Json:
    """The document of a dataclass."""
    return typing.cast(Json, codec(value.__class__)[0](value))


def from_json(kind: type[T], document: Json) -> T:
    """What `to_json` was given. What the document lacks has its default, or is None."""
    return typing.cast(T, codec(typing.cast(typing.Any, kind))[1](document))


def same(value: typing.Any) -> typing.Any:
    return value


@functools.cache
def codec(hint: typing.Any) -> tuple[Convert, Convert]:
    """How a value of this type is written and read; `same` where it is JSON as it stands."""
    arguments = typing.get_args(hint)
    if hint is Hex:
        return hexadecimal, lambda text: int(text, 16)
    if dataclasses.is_dataclass(hint):
        return of_dataclass(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):  # all of them are strings, too
        return same, hint
    if typing.get_origin(hint) is list:
        write, read = codec(arguments[0])
        return (same, list) if write is read is same else (
            lambda values: [write(value) for value in values], lambda values: [read(value) for value in values])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return of_union([argument for argument in arguments if argument is not type(None)])
    return same, same


def of_union(hints: list[typing.Any]) -> tuple[Convert, Convert]:
    """None or one of these; of several dataclasses the one whose fields the document has."""
    if len(hints) == 1:
        write, read = codec(hints[0])
        return (lambda value: None if value is None else write(value),
                lambda value: None if value is None else read(value))

    def read_one(document: Json) -> typing.Any:
        return next(codec(hint)[1](document) for hint in hints if required(hint) <= document.keys())

    return to_json, read_one


def required(kind: typing.Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING}


def of_dataclass(kind: typing.Any) -> tuple[Convert, Convert]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = [field for field in dataclasses.fields(kind) if "hidden" not in field.metadata]
    # Without its underscore a field may be a word of Python.
    plain = [(field.name, field.name.rstrip("_"), "absent" in field.metadata, *codec(hints[field.name]))
             for field in fields if "inlined" not in field.metadata]
    inner = [(field.name, field.default_factory(), *codec(hints[field.name]))  # type: ignore[misc]
             for field in fields if "inlined" in field.metadata]

    def write(value: typing.Any) -> Json:
        document = {}
        for name, key, optional, convert, _read in plain:
            found = getattr(value, name)
            if found is not None or not optional:
                document[key] = found if convert is same else convert(found)
        for name, default, convert, _read in inner:
            if getattr(value, name) != default:
                document.update(convert(getattr(value, name)))
        return document

    def read(document: Json) -> typing.Any:
        found = {name: convert(document[key]) for name, key, _optional, _write, convert in plain if key in document}
        found.update((name, convert(document)) for name, _default, _write, convert in inner)
        lacking = [name for name, _key, *_rest in plain if name not in found and name in mandatory]
        return kind(**found, **dict.fromkeys(lacking))

    mandatory = required(kind)
    return write, read
