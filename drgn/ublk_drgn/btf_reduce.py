# SPDX-License-Identifier: MIT
"""A small BTF blob with only the types that were used, for recordings: 100 KB instead of 5 MB.

A member whose type was never looked at keeps its name and place and gets an incomplete type, so that a replay that
reads more than the recording has fails instead of showing zeros.
"""

from __future__ import annotations

import struct

from . import btf
from .btf import Blob

OMITTED = "omitted_in_recording"
_HEAD = struct.Struct("<III")


class Reducer:
    """Numbers types anew. Id 1 stands for everything that was left out."""

    def __init__(self, blobs: list[Blob], used: set[tuple[str, int]]) -> None:
        self.by_name = {blob.name: blob for blob in blobs}
        for blob in blobs:
            if blob.base:
                self.by_name.setdefault(blob.base.name, blob.base)
        self.order = sorted(used - {(name, 0) for name in self.by_name})
        self.ids = {key: number for number, key in enumerate(self.order, 2)}
        self.strings: dict[str, int] = {"": 0}
        self.string_bytes = bytearray(b"\0")

    def text(self, value: str) -> int:
        if value not in self.strings:
            self.strings[value] = len(self.string_bytes)
            self.string_bytes += value.encode() + b"\0"
        return self.strings[value]

    def id(self, blob: Blob, old: int) -> int:
        return 0 if old == 0 else self.ids.get((blob.owner(old).name, old), 1)

    def blob(self) -> bytes:
        types = bytearray(_HEAD.pack(self.text(OMITTED), btf.FWD << 24, 0))
        for name, old in self.order:
            types += self.type(self.by_name[name], old)
        strings = bytes(self.string_bytes)
        header = struct.pack("<HBBIIIII", btf.MAGIC, 1, 0, btf.HEADER_MIN, 0, len(types), len(types), len(strings))
        return header + bytes(types) + strings

    def type(self, blob: Blob, old: int) -> bytes:
        head = blob.head(old)
        name, kind, length = self.text(blob.string(head.name_offset)), head.kind, head.length
        size, trailer = head.size_or_type, b""
        if kind in (btf.STRUCT, btf.UNION):
            trailer = b"".join(
                _HEAD.pack(self.text(member.name), self.id(blob, member.type_id),
                           member.bit_offset | (member.bit_size << 24 if head.kind_flag else 0))
                for member in blob.members(head))
        elif kind == btf.ARRAY:
            element, count = blob.array(head)
            trailer = _HEAD.pack(self.id(blob, element), 0, count)
        elif kind == btf.INT:
            trailer = blob.owner(old).data[head.offset:head.offset + 4]
        elif kind == btf.ENUM:
            trailer = b"".join(struct.pack("<II", self.text(word), value & 0xFFFFFFFF)
                               for word, value in blob.enumerators(head))
        elif kind == btf.ENUM64:
            trailer = b"".join(_HEAD.pack(self.text(word), value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)
                               for word, value in blob.enumerators(head))
        elif kind in (btf.FUNC, btf.FUNC_PROTO):  # only ever pointed to
            kind, length, size = btf.FWD, 0, 0
        elif kind not in (btf.FWD, btf.FLOAT):
            size = self.id(blob, size)
        return _HEAD.pack(name, length | kind << 24 | head.kind_flag << 31, size) + trailer


def reduce(blobs: list[Blob], used: set[tuple[str, int]]) -> bytes:
    return Reducer(blobs, used).blob()
