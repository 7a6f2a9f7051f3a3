# SPDX-License-Identifier: MIT
"""Structures by the names of their members, at an address, as this kernel's types lay them out.

A member that this kernel does not have is None and is noted as missing; versions are never compared.
"""

from __future__ import annotations

import dataclasses
import typing

import drgn

from .errors import MissingType

if typing.TYPE_CHECKING:
    from .kernel import Kernel

_COMPOUND = (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION)


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where a member is. `bits` is 0 unless it is a bit field."""

    offset: int
    size: int
    signed: bool
    bit: int
    bits: int

    def decode(self, data: bytes, base: int = 0) -> int:
        start = base + self.offset
        value = int.from_bytes(data[start:start + self.size], "little", signed=self.signed and not self.bits)
        return value >> self.bit & (1 << self.bits) - 1 if self.bits else value


def plain(type_: drgn.Type) -> drgn.Type:
    while type_.kind == drgn.TypeKind.TYPEDEF:
        type_ = type_.type
    return type_


def _is_signed(type_: drgn.Type) -> bool:
    if type_.kind == drgn.TypeKind.ENUM:
        return bool(type_.type and plain(type_.type).is_signed)
    return bool(type_.kind == drgn.TypeKind.INT and type_.is_signed)


class Layout:
    """One structure type. Paths go through members with dots: 'file_table.data.nr'."""

    def __init__(self, type_: drgn.Type, name: str) -> None:
        self.type = plain(type_)
        self.name = name
        self.size: int = self.type.size or 0
        self._slots: dict[str, Slot | None] = {}
        self._members: dict[str, tuple[int, drgn.Type]] = {}

    def locate(self, path: str) -> tuple[int, drgn.Type]:
        """Bit offset and type; LookupError if this kernel has no such member."""
        if path not in self._members:
            type_, bits = self.type, 0
            member = None
            try:
                for word in path.split("."):
                    if type_.kind not in _COMPOUND or not type_.has_member(word):
                        raise LookupError(path)
                    member = type_.member(word)
                    bits += member.bit_offset
                    type_ = plain(member.type)
            except LookupError:
                raise
            except Exception as error:  # as which drgn passes on what the type finder raises
                raise MissingType(f"{self.name}.{path}: {error}") from None
            self._members[path] = bits, type_
        return self._members[path]

    def has(self, path: str) -> bool:
        return self.slot(path) is not None

    def slot(self, path: str) -> Slot | None:
        if path not in self._slots:
            try:
                self._slots[path] = self._find(path)
            except LookupError:
                self._slots[path] = None
        return self._slots[path]

    def _find(self, path: str) -> Slot:
        bits, type_ = self.locate(path)
        parent = self.locate(path.rpartition(".")[0])[1] if "." in path else self.type
        field = parent.member(path.rpartition(".")[2]).bit_field_size
        if field:
            return Slot(bits // 8, (bits % 8 + field + 7) // 8, False, bits % 8, field)
        try:
            size = 0 if type_.kind in (drgn.TypeKind.ARRAY, drgn.TypeKind.FUNCTION) else drgn.sizeof(type_)
        except TypeError:  # incomplete: a recording has only what its dump looked at
            raise MissingType(f"the types at hand do not describe {self.name}.{path}") from None
        return Slot(bits // 8, size, _is_signed(type_), 0, 0)

    def element(self, path: str) -> tuple[int, drgn.Type, int | None]:
        """An array's byte offset, type of its elements, and length (None: flexible)."""
        bits, type_ = self.locate(path)
        return bits // 8, plain(type_.type), type_.length


class View:
    """A structure in memory."""

    __slots__ = ("kernel", "layout", "address")

    def __init__(self, kernel: Kernel, layout: Layout, address: int) -> None:
        self.kernel, self.layout, self.address = kernel, layout, address

    def __repr__(self) -> str:
        return f"{self.layout.name} {self.address:#x}"

    def slot(self, path: str) -> Slot | None:
        slot = self.layout.slot(path)
        if slot is None:
            self.kernel.note_missing(self.layout.name, path)
        return slot

    def get(self, path: str) -> int | None:
        """The value of an integer, pointer or enumeration; None if this kernel has no such member."""
        slot = self.slot(path)
        if slot is None:
            return None
        return Slot(0, slot.size, slot.signed, slot.bit, slot.bits).decode(
            self.kernel.memory.read(self.address + slot.offset, slot.size))

    def need(self, path: str) -> int:
        """A member without which nothing can be said."""
        value = self.get(path)
        if value is None:
            raise MissingType(f"{self.layout.name} has no member {path} in this kernel")
        return value

    def first(self, *paths: str) -> int | None:
        """The value of the first of these members that this kernel has (it was renamed over time)."""
        for path in paths:
            if self.layout.has(path):
                return self.get(path)
        self.kernel.note_missing(self.layout.name, paths[0])
        return None

    def has(self, path: str) -> bool:
        return self.layout.has(path)

    def flag(self, path: str) -> bool | None:
        value = self.get(path)
        return None if value is None else bool(value)

    def place(self, path: str) -> int:
        """The address of a member."""
        slot = self.slot(path)
        if slot is None:
            raise MissingType(f"{self.layout.name} has no member {path} in this kernel")
        return self.address + slot.offset

    def follow(self, path: str, struct: str) -> View | None:
        """What a pointer points to; None for a null pointer or a missing member."""
        address = self.get(path)
        return self.kernel.view(struct, address) if address else None

    def inside(self, path: str) -> View:
        """A structure that is part of this one."""
        bits, type_ = self.layout.locate(path)
        name = f"{type_.tag}" if type_.kind in _COMPOUND and type_.tag else f"{self.layout.name}.{path}"
        return View(self.kernel, self.kernel.layout_of(type_, name), self.address + bits // 8)

    def text(self, path: str) -> str | None:
        """A character array, or the string that a pointer points to (elevator_type's elevator_name was an array before
        it became one); None for a null pointer."""
        slot = self.slot(path)
        if slot is None:
            return None
        if plain(self.layout.locate(path)[1]).kind == drgn.TypeKind.POINTER:
            address = self.get(path)
            return self.kernel.memory.string(address) if address else None
        length = self.layout.element(path)[2] or 256
        data = self.kernel.memory.read(self.address + slot.offset, length)
        return data.split(b"\0", 1)[0].decode("utf-8", "replace")
