# SPDX-License-Identifier: MIT
"""Types for drgn out of BTF, built only when they are asked for.

drgn 0.0.31 has no BTF reader (drgn issue: upstream pull request 625 is open), so the finder is registered by hand.
"""

from __future__ import annotations

import typing

import drgn

from . import btf
from .btf import Blob, BtfError, Head

_KINDS = {drgn.TypeKind.INT: (btf.INT,), drgn.TypeKind.BOOL: (btf.INT,), drgn.TypeKind.FLOAT: (btf.FLOAT,),
          drgn.TypeKind.STRUCT: (btf.STRUCT,), drgn.TypeKind.UNION: (btf.UNION,),
          drgn.TypeKind.ENUM: (btf.ENUM, btf.ENUM64), drgn.TypeKind.TYPEDEF: (btf.TYPEDEF,)}
_NESTING_MAX = 64


class TypeFinder:
    """Registers itself with `prog`; looks into `modules` before vmlinux, and into `others` after it."""

    def __init__(self, prog: drgn.Program, vmlinux: Blob, modules: typing.Sequence[Blob] = (),
                 others: typing.Sequence[Blob] = ()) -> None:
        self.prog = prog
        self.blobs = [*modules, vmlinux, *others]
        self.built: dict[tuple[str, int], drgn.Type] = {}
        self._building = 0
        prog.register_type_finder("ublk_drgn.btf", self._find, enable_index=0)

    def _find(self, _prog: drgn.Program, kinds: typing.Any, name: str,
              _filename: str | None) -> drgn.Type | None:
        wanted = {number for kind in kinds for number in _KINDS.get(kind, ())}
        for blob in self.blobs:
            for type_id in blob.ids(name):
                if blob.head(type_id).kind in wanted:
                    found = self.type(blob, type_id)
                    if found.kind in kinds:
                        return found
        return None

    def enumeration(self, enumerator: str) -> dict[int, str]:
        """All enumerators beside the named one, value to name; empty if no enumeration has it."""
        for blob in self.blobs:
            type_id = blob.enum_with(enumerator)
            if type_id is not None:
                self.type(blob, type_id)  # a recording keeps what was built
                return {value: name for name, value in blob.enumerators(blob.head(type_id))}
        return {}

    def type(self, blob: Blob, type_id: int) -> drgn.Type:
        blob = blob.owner(type_id)
        key = blob.name, type_id
        if key not in self.built:
            self._building += 1
            if self._building > _NESTING_MAX:
                self._building = 0
                raise BtfError(f"BTF of {blob.name}: type {type_id} is part of a cycle")
            self.built[key] = self._build(blob, blob.head(type_id))
            self._building -= 1
        return self.built[key]

    def _build(self, blob: Blob, head: Head) -> drgn.Type:
        prog, name, kind = self.prog, blob.string(head.name_offset), head.kind
        if kind == btf.VOID:
            return prog.void_type()
        if kind == btf.INT:
            signed, boolean, _bits = blob.integer(head)
            if boolean:
                return prog.bool_type(name, head.size_or_type)
            return prog.int_type(name, head.size_or_type, signed)
        if kind == btf.FLOAT:
            return prog.float_type(name, head.size_or_type)
        if kind == btf.PTR:
            return prog.pointer_type(self.type(blob, head.size_or_type))
        if kind == btf.ARRAY:
            element, count = blob.array(head)
            return prog.array_type(self.type(blob, element), count or None)
        if kind in (btf.STRUCT, btf.UNION):
            return self._compound(blob, head, name)
        if kind in (btf.ENUM, btf.ENUM64):
            return self._enumeration(blob, head, name)
        if kind == btf.FWD:
            return self._forward(name, is_union=head.kind_flag)
        if kind == btf.TYPEDEF:
            return prog.typedef_type(name, self.type(blob, head.size_or_type))
        if kind in btf.QUALIFIERS:
            return self.type(blob, head.size_or_type)
        if kind in (btf.FUNC, btf.FUNC_PROTO):
            # What functions take is never read; pointers to them only need a target.
            return prog.function_type(prog.void_type(), (), is_variadic=True)
        raise BtfError(f"BTF of {blob.name}: type {head.id} of kind {kind} stands where data is described")

    def _compound(self, blob: Blob, head: Head, name: str) -> drgn.Type:
        def lazily(member: btf.Member) -> typing.Callable[[], typing.Any]:
            def build() -> typing.Any:
                member_type = self.type(blob, member.type_id)
                if not member.bit_size:
                    return member_type
                return drgn.Object(self.prog, member_type, bit_field_size=member.bit_size)
            return build

        members = [drgn.TypeMember(lazily(member), member.name or None, member.bit_offset)
                   for member in blob.members(head)]
        make = self.prog.struct_type if head.kind == btf.STRUCT else self.prog.union_type
        return make(name or None, head.size_or_type, members)

    def _enumeration(self, blob: Blob, head: Head, name: str) -> drgn.Type:
        size = head.size_or_type
        if size not in (1, 2, 4, 8):
            raise BtfError(f"BTF of {blob.name}: enumeration {head.id} has {size} bytes")
        compatible = self.prog.int_type(f"enum {size * 8}", size, head.kind_flag)
        values = [drgn.TypeEnumerator(*pair) for pair in blob.enumerators(head)]
        return self.prog.enum_type(name or None, compatible, values)

    def _forward(self, name: str, is_union: bool) -> drgn.Type:
        wanted = btf.UNION if is_union else btf.STRUCT
        for blob in self.blobs:
            for type_id in blob.ids(name):
                if blob.head(type_id).kind == wanted:
                    return self.type(blob, type_id)
        return self.prog.union_type(name) if is_union else self.prog.struct_type(name)
