# SPDX-License-Identifier: MIT
"""ublkbench-record(5), of the JSON schema: every property, its type, what it means."""

from __future__ import annotations

import typing

from .program_page import see_also
from .roff import bold, escaped, filled, heading, line, tagged, title

Schema = dict[str, typing.Any]


def type_of(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return "a number of 0 or more" if name == "count" else name
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " or ".join(f'"{word}"' for word in schema["enum"])
    if "oneOf" in schema:
        return " or ".join(map(type_of, schema["oneOf"]))
    types = schema.get("type", "anything")
    if types == "array" and "items" in schema:
        return f"array of {type_of(schema['items'])}"
    if types == "object" and isinstance(more := schema.get("additionalProperties"), dict):
        return f"object of {type_of(more)}"
    return " or ".join(types) if isinstance(types, list) else str(types)


def property_lines(schema: Schema, prefix: str = "") -> str:
    """Those within an object follow it, by their dotted names."""
    text = ""
    required = schema.get("required", [])
    for name, value in schema.get("properties", {}).items():
        more = "" if name in required else ", optional"
        text += tagged(f"{bold(prefix + name)} ({escaped(type_of(value) + more)})", value.get("description", ""))
        text += below(value, prefix + name)
    for name in required:  # those of which nothing but the name is fixed
        if name not in schema.get("properties", {}):
            text += tagged(f"{bold(prefix + name)} (anything)", "")
    return text


def below(schema: Schema, name: str) -> str:
    """Of an array what its elements have."""
    if schema.get("type") == "array":
        return property_lines(schema.get("items", {}), name + "[].")
    return property_lines(schema, name + "." if name else "")


def page(schema: Schema, version: str) -> str:
    text = title("ublkbench-record", 5, version) + heading("SH", "NAME")
    text += "ublkbench\\-record \\- what \\(aqublkbench run\\(aq measured, as JSON\n"
    text += heading("SH", "DESCRIPTION") + filled(schema["title"].split(": ", 1)[0]) + ".PP\n"
    text += filled(schema["description"]) + below(schema, "")
    for name, part in schema["$defs"].items():
        if name == "count":
            continue
        text += heading("SH", name.upper()) + filled(part.get("description", ""))
        text += below(part, "") or f".PP\n{line(type_of(part))}\n"
    return text + see_also("ublkbench-record")
