# SPDX-License-Identifier: MIT
"""Many structures of one kind, read and decoded with few reads: a device can have 8 x 4096 tags."""

from __future__ import annotations

import typing

from .errors import Fault
from .kernel import Kernel
from .layout import Layout


class Columns:
    """Members of a structure, looked up once; a member that this kernel does not have decodes as None."""

    def __init__(self, kernel: Kernel, layout: Layout, **paths: str | tuple[str, ...]) -> None:
        self.layout = layout
        self._slots = []
        for name, wanted in paths.items():
            choices = (wanted,) if isinstance(wanted, str) else wanted
            path = next((choice for choice in choices if layout.has(choice)), None)
            if path is None:
                kernel.note_missing(layout.name, choices[0])
            self._slots.append((name, layout.slot(path) if path else None))

    def row(self, data: bytes, base: int = 0) -> dict[str, int | None]:
        return {name: slot.decode(data, base) if slot else None for name, slot in self._slots}

    @property
    def span(self) -> tuple[int, int]:
        """The bytes from the first to the last of these members."""
        slots = [slot for _name, slot in self._slots if slot]
        return min(slot.offset for slot in slots), max(slot.offset + slot.size for slot in slots)


def array(kernel: Kernel, columns: Columns, address: int, count: int) -> typing.Iterator[dict[str, int | None]]:
    """An array of structures, in one read."""
    size = columns.layout.size
    data = kernel.memory.read(address, size * count)
    for number in range(count):
        yield columns.row(data, number * size)


def scattered(kernel: Kernel, columns: Columns, addresses: typing.Iterable[int]
              ) -> typing.Iterator[tuple[int, dict[str, int | None] | None]]:
    """Structures here and there; None for one that cannot be read."""
    start, end = columns.span
    padding = bytes(start)
    for address in addresses:
        try:
            yield address, columns.row(padding + kernel.memory.read(address + start, end - start))
        except Fault:
            yield address, None
