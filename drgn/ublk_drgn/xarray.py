# SPDX-License-Identifier: MIT
"""XArrays (and IDRs, which are ones) and maple trees. Layout: include/linux/xarray.h, include/linux/maple_tree.h."""

from __future__ import annotations

import typing

from .errors import Fault
from .kernel import Kernel

_DEPTH_MAX = 12


def entries(kernel: Kernel, xarray: int) -> typing.Iterator[tuple[int, int]]:
    """Index and pointer of each entry that is a pointer, in order."""
    yield from _entries(kernel, kernel.view("xarray", xarray).need("xa_head"), 0, None, 0)


def _entries(kernel: Kernel, entry: int, index: int, shift: int | None, depth: int
             ) -> typing.Iterator[tuple[int, int]]:
    if not entry or depth > _DEPTH_MAX:
        return
    if entry & 3 != 2 or entry < 4096:
        # Bit 0 is a value, internal entries below 4096 are retry and zero entries; an IDR tags nothing else.
        if not entry & 1 and entry >= 4096:
            yield index, entry
        return
    node = kernel.view("xa_node", entry - 2)
    here = node.need("shift")
    if shift is not None and here >= shift:
        return
    offset, _type, length = node.layout.element("slots")
    for number, slot in enumerate(kernel.memory.words(node.address + offset, length or 0)):
        if slot:
            yield from _entries(kernel, slot, index + (number << here), here, depth + 1)


def maple_pointers(kernel: Kernel, root: int) -> typing.Iterator[int]:
    """All pointers that the leaves of a maple tree hold (an mm's areas), in no promised order.

    Slots beyond a node's end may hold stale pointers, so the caller checks what it gets.
    """
    if not root:
        return
    if root & 3 != 2:
        yield root
        return
    yield from _maple_node(kernel, root, 0)


def _maple_node(kernel: Kernel, encoded: int, depth: int) -> typing.Iterator[int]:
    kinds = {0: ("maple_node", "slot", True), 1: ("maple_node", "mr64.slot", True),
             2: ("maple_node", "mr64.slot", False), 3: ("maple_node", "ma64.slot", False)}
    kind = encoded >> 3 & 0xF
    if kind not in kinds or depth > _DEPTH_MAX:
        return
    struct, member, leaf = kinds[kind]
    layout = kernel.layout(struct)
    offset, _type, length = layout.element(member)
    try:
        slots = kernel.memory.words((encoded & ~0xFF) + offset, length or 0)
    except Fault:
        return
    for slot in slots:
        if not slot or slot & 1:
            continue
        if leaf:
            yield slot
        elif slot & 2 or slot >= 4096:
            yield from _maple_node(kernel, slot, depth + 1)
