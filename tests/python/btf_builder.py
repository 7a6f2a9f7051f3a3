# SPDX-License-Identifier: MIT
"""Makes BTF blobs by hand: each test says exactly which bytes it means."""

import struct


class Builder:
    """Types in order of their ids, which begin at `first_id`."""

    def __init__(self, first_id=1, first_string=0):
        self.types = b""
        self.strings = b"" if first_string else b"\0"
        self.first_string = first_string
        self.next_id = first_id
        self.layout = b""

    def text(self, word):
        if not word:
            return 0
        place = self.first_string + len(self.strings)
        self.strings += word.encode() + b"\0"
        return place

    def add(self, kind, name="", size=0, length=0, flag=False, trailer=b""):
        self.types += struct.pack("<III", self.text(name), length | kind << 24 | flag << 31, size) + trailer
        self.next_id += 1
        return self.next_id - 1

    def integer(self, name, size, signed=False, boolean=False):
        return self.add(1, name, size, trailer=struct.pack("<I", signed << 24 | boolean << 26 | size * 8))

    def pointer(self, target):
        return self.add(2, size=target)

    def array(self, element, count):
        return self.add(3, trailer=struct.pack("<III", element, 0, count))

    def struct(self, name, size, members, kind=4, flag=False):
        """Members are (name, type, bit offset) or, with `flag`, (name, type, bit offset, bits)."""
        trailer = b"".join(struct.pack("<III", self.text(member[0]), member[1],
                                       member[2] | (member[3] << 24 if len(member) > 3 else 0)) for member in members)
        return self.add(kind, name, size, len(members), flag, trailer)

    def enum(self, name, values, signed=False):
        trailer = b"".join(struct.pack("<Ii" if signed else "<II", self.text(word), value) for word, value in values)
        return self.add(6, name, 4, len(values), signed, trailer)

    def enum64(self, name, values, signed=False):
        trailer = b"".join(struct.pack("<III", self.text(word), value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF)
                           for word, value in values)
        return self.add(19, name, 8, len(values), signed, trailer)

    def blob(self):
        header = 32 if self.layout else 24
        types, strings = len(self.types), len(self.strings)
        data = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, header, 0, types, types, strings)
        if self.layout:
            data += struct.pack("<II", types + strings, len(self.layout))
        return data + self.types + self.strings + self.layout
