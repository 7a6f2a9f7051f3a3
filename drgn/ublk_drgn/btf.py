# SPDX-License-Identifier: MIT
"""BTF as bytes: an index over one blob, and checked access to its types.

Nothing here knows drgn. A blob is never trusted: every offset, string and type id is checked where it is used, and
what is wrong with it is one BtfError. Layout: include/uapi/linux/btf.h and Documentation/bpf/btf.rst of Linux.
"""

from __future__ import annotations

import array
import bisect
import dataclasses
import struct
import typing

MAGIC = 0xEB9F
HEADER_MIN = 24
HEADER_WITH_LAYOUT = 32

(VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC,
 FLOAT, DECL_TAG, TYPE_TAG, ENUM64) = range(20)

# Bytes after the 12-byte head: fixed part, and size of each of the vlen elements.
_TRAILER = {INT: (4, 0), PTR: (0, 0), ARRAY: (12, 0), STRUCT: (0, 12), UNION: (0, 12), ENUM: (0, 8), FWD: (0, 0),
            TYPEDEF: (0, 0), VOLATILE: (0, 0), CONST: (0, 0), RESTRICT: (0, 0), FUNC: (0, 0), FUNC_PROTO: (0, 8),
            VAR: (4, 0), DATASEC: (0, 12), FLOAT: (0, 0), DECL_TAG: (4, 0), TYPE_TAG: (0, 0), ENUM64: (0, 12)}
QUALIFIERS = (VOLATILE, CONST, RESTRICT, TYPE_TAG)
_HEAD = struct.Struct("<III")


class BtfError(Exception):
    """The blob contradicts its own format."""


@dataclasses.dataclass(frozen=True)
class Head:
    """The common start of a type. `size_or_type` is a size or a type id, as the kind says."""

    id: int
    offset: int  # of the trailer, in the blob
    name_offset: int
    kind: int
    kind_flag: bool
    length: int
    size_or_type: int


@dataclasses.dataclass(frozen=True)
class Member:
    name: str
    type_id: int
    bit_offset: int
    bit_size: int  # 0: not a bit field


class Blob:
    """One BTF blob; a module's is split and continues the ids and strings of `base`."""

    def __init__(self, data: bytes, name: str, base: Blob | None = None) -> None:
        self.data = data
        self.name = name
        self.base = base
        self.first_id: int = base.end_id if base else 1
        self.first_string: int = base.first_string + base.string_length if base else 0
        self._read_header()
        self._index()
        self._ids_by_name: dict[str, list[int]] = {}

    def _fail(self, what: str) -> BtfError:
        return BtfError(f"BTF of {self.name}: {what}")

    def _read_header(self) -> None:
        if len(self.data) < HEADER_MIN:
            raise self._fail(f"{len(self.data)} bytes are less than a header")
        magic, version, _flags, header, type_offset, type_length, string_offset, string_length = struct.unpack_from(
            "<HBBIIIII", self.data)
        if magic != MAGIC:
            raise self._fail(f"magic number is {magic:#06x}, not {MAGIC:#06x}")
        if version != 1:
            raise self._fail(f"version {version} is not known")
        if header < HEADER_MIN or header > len(self.data):
            raise self._fail(f"header length {header} is out of range")
        self.types = header + type_offset
        self.types_end = self.types + type_length
        self.strings: int = header + string_offset
        self.string_length = string_length
        if self.types_end > len(self.data) or self.strings + string_length > len(self.data):
            raise self._fail(f"truncated: sections end at {max(self.types_end, self.strings + string_length)}, "
                             f"there are {len(self.data)} bytes")
        # A split blob's table need not start with a zero: its first string may be a name.
        if not string_length and self.base is None:
            raise self._fail("no string section")
        if string_length and self.data[self.strings + string_length - 1]:
            raise self._fail("string section does not end with a zero")
        self._layout = self._read_layout(header)

    def _read_layout(self, header: int) -> dict[int, tuple[int, int]]:
        """Sizes of kinds as the blob itself states them (Linux 7.3), so that kinds to come can be skipped."""
        if header < HEADER_WITH_LAYOUT or len(self.data) < HEADER_WITH_LAYOUT:
            return {}
        offset, length = struct.unpack_from("<II", self.data, HEADER_MIN)
        if header + offset + length > len(self.data):
            raise self._fail("layout section reaches past the end")
        rows = range(length // 4)
        sizes = (struct.unpack_from("<BBH", self.data, header + offset + 4 * row) for row in rows)
        return {kind: (info, element) for kind, (info, element, _flags) in enumerate(sizes)}

    def _index(self) -> None:
        """Records where each type starts. The only loop over all types, so it does nothing else."""
        if self.types % 4 or (self.types_end - self.types) % 4:
            raise self._fail("the type section is not aligned")
        words = memoryview(self.data)[self.types:self.types_end].cast("I")
        offsets, position, end, known = array.array("I"), 0, len(words), {**self._layout, **_TRAILER}
        sizes = {kind: (3 + fixed // 4, element // 4) for kind, (fixed, element) in known.items()}
        add = offsets.append
        try:
            while position < end:
                add(position)
                # Older kernels have 16 bits of length and 5 of kind; the bits between were zero.
                info = words[position + 1]
                fixed, element = sizes[info >> 24 & 0x7F]
                position += fixed + element * (info & 0xFFFFFF)
        except KeyError as unknown:
            raise self._fail(f"type {self.first_id + len(offsets) - 1} has kind {unknown}, which is not known and "
                             "whose size the blob does not state") from None
        except IndexError:
            position = end + 1
        if position != end:
            raise self._fail(f"type {self.first_id + len(offsets) - 1} reaches past the end of its section")
        self.offsets = offsets  # in words from the start of the section
        self.end_id = self.first_id + len(offsets)

    def head(self, type_id: int) -> Head:
        if type_id < self.first_id and self.base:
            return self.base.head(type_id)
        if type_id == 0:
            return Head(0, 0, 0, VOID, False, 0, 0)
        if not self.first_id <= type_id < self.end_id:
            raise self._fail(f"there is no type {type_id}")
        offset = self.types + 4 * self.offsets[type_id - self.first_id]
        name, info, size = _HEAD.unpack_from(self.data, offset)
        return Head(type_id, offset + 12, name, info >> 24 & 0x7F, bool(info >> 31), info & 0xFFFFFF, size)

    def owner(self, type_id: int) -> Blob:
        """The blob that holds a type: a type of the base never refers into a split blob."""
        return self.base.owner(type_id) if self.base and type_id < self.first_id else self

    def string(self, offset: int) -> str:
        if offset < self.first_string and self.base:
            return self.base.string(offset)
        start = offset - self.first_string
        if not 0 <= start < self.string_length:
            if offset == 0:
                return ""
            raise self._fail(f"string {offset} is outside of the string section")
        end = self.data.index(b"\0", self.strings + start)
        return self.data[self.strings + start:end].decode("utf-8", "replace")

    def string_offset(self, text: str) -> int | None:
        """Where a name is in the string section, or None. No string is decoded for it."""
        wanted = text.encode() + b"\0"
        start, end = self.strings, self.strings + self.string_length
        if self.data[start:start + len(wanted)] == wanted:
            return self.first_string
        found = self.data.find(b"\0" + wanted, start, end)
        if found >= 0:
            return found + 1 - start + self.first_string
        return self.base.string_offset(text) if self.base else None

    def _places(self, word: int) -> typing.Iterator[int]:
        """Where a 32-bit word occurs in the type section, in words from its start."""
        wanted, start = struct.pack("<I", word), self.types
        while (found := self.data.find(wanted, start, self.types_end)) >= 0:
            if (found - self.types) % 4 == 0:
                yield (found - self.types) // 4
            start = found + 1

    def ids(self, name: str) -> list[int]:
        """The types with that name in this blob (not in its base), in order."""
        if name not in self._ids_by_name:
            offset, found = self.string_offset(name), []
            for place in self._places(offset) if offset else ():
                number = bisect.bisect_left(self.offsets, place)
                if number < len(self.offsets) and self.offsets[number] == place:
                    found.append(self.first_id + number)
            self._ids_by_name[name] = found
        return self._ids_by_name[name]

    def members(self, head: Head) -> list[Member]:
        blob = self.owner(head.id)
        result = []
        for number in range(head.length):
            name, type_id, offset = _HEAD.unpack_from(blob.data, head.offset + 12 * number)
            bits = offset >> 24 if head.kind_flag else 0
            result.append(Member(blob.string(name), type_id, offset & 0xFFFFFF if head.kind_flag else offset, bits))
        return result

    def array(self, head: Head) -> tuple[int, int]:
        """Type of the elements and their number."""
        element, _index, count = _HEAD.unpack_from(self.owner(head.id).data, head.offset)
        return element, count

    def integer(self, head: Head) -> tuple[bool, bool, int]:
        """Signed, boolean, bits."""
        (word,) = struct.unpack_from("<I", self.owner(head.id).data, head.offset)
        return bool(word >> 24 & 1), bool(word >> 24 & 4), word & 0xFF

    def enumerators(self, head: Head) -> list[tuple[str, int]]:
        blob = self.owner(head.id)
        result = []
        for number in range(head.length):
            if head.kind == ENUM64:
                name, low, high = _HEAD.unpack_from(blob.data, head.offset + 12 * number)
                value = low | high << 32
                value -= (value >> 63 & 1) << 64 if head.kind_flag else 0
            else:
                name, value = struct.unpack_from("<Ii" if head.kind_flag else "<II", blob.data,
                                                 head.offset + 8 * number)
            result.append((blob.string(name), value))
        return result

    def enum_with(self, enumerator: str) -> int | None:
        """The id of the enumeration that has an enumerator of that name (also an anonymous one), or None."""
        wanted = self.string_offset(enumerator)
        for place in self._places(wanted) if wanted else ():
            number = bisect.bisect_right(self.offsets, place) - 1
            head = self.head(self.first_id + number)
            if head.kind in (ENUM, ENUM64) and place >= self.offsets[number] + 3:
                if (place - self.offsets[number] - 3) % (_TRAILER[head.kind][1] // 4) == 0:
                    return head.id
        return self.base.enum_with(enumerator) if self.base else None
