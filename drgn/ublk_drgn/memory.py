# SPDX-License-Identifier: MIT
"""Kernel memory by the page: read once a sample, so that a sample is as consistent as it can be and can be kept."""

from __future__ import annotations

import time
import typing

from .errors import Fault, Implausible, OutOfTime

PAGE = 4096
LINE = 64
_READ_MAX = 64 << 20  # more than any structure, table or blob; a size out of memory that was freed may be anything

Fetch = typing.Callable[[int, int], bytes]


class Bound:
    """How long reading may take: memory that is damaged, or was used anew meanwhile, can lead anywhere."""

    def __init__(self) -> None:
        self.part = "the types"  # what is being read
        self._limit_s: float | None = None
        self._end_s = 0.0

    def start(self, limit_s: float) -> None:
        self._limit_s, self._end_s = limit_s, time.monotonic() + limit_s

    def check(self) -> None:
        if self._limit_s is not None and time.monotonic() > self._end_s:
            raise OutOfTime("read", "the kernel's memory", f"not done after {self._limit_s:g} s, while reading "
                            f"{self.part}", "try again, or give it longer with --timeout")


class Memory:
    """Pages that were read so far; `fetch` gets new ones and raises Fault."""

    def __init__(self, fetch: Fetch, bound: Bound | None = None) -> None:
        self._fetch = fetch
        self.bound = bound or Bound()
        self.pages: dict[int, bytes | None] = {}
        self.touched: dict[int, int] = {}  # a bit for each line of a page that was really read

    def forget(self) -> None:
        """A new sample reads everything again."""
        self.pages, self.touched = {}, {}

    def apart(self) -> Memory:
        """The same memory for reads that no recording shall keep."""
        return Memory(self._fetch, self.bound)

    def read(self, address: int, size: int) -> bytes:
        if not 0 <= size <= _READ_MAX:
            raise Fault(address, f"{size} bytes")
        self.bound.check()
        first, last = address // PAGE, (address + size - 1) // PAGE
        if first == last:
            offset = address % PAGE
            self.touched[first] = self.touched.get(first, 0) | line_mask(offset, size)
            return self._page(first, address)[offset:offset + size]
        self._fetch_run(first, last)
        for number in range(first, last + 1):
            start, end = max(address, number * PAGE), min(address + size, (number + 1) * PAGE)
            self.touched[number] = self.touched.get(number, 0) | line_mask(start % PAGE, end - start)
        data = b"".join(self._page(number, address) for number in range(first, last + 1))
        return data[address % PAGE:address % PAGE + size]

    def _page(self, number: int, address: int) -> bytes:
        if number not in self.pages:
            try:
                self.pages[number] = self._fetch(number * PAGE, PAGE)
            except Fault:
                self.pages[number] = None
        page = self.pages[number]
        if page is None:
            raise Fault(address)
        return page

    def _fetch_run(self, first: int, last: int) -> None:
        """Many pages in one read; what fails as a whole is read page by page."""
        if last - first < 2 or any(number in self.pages for number in range(first, last + 1)):
            return
        try:
            data = self._fetch(first * PAGE, (last - first + 1) * PAGE)
        except Fault:
            return
        for number in range(first, last + 1):
            start = (number - first) * PAGE
            self.pages[number] = data[start:start + PAGE]

    def word(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def words(self, address: int, count: int) -> list[int]:
        if count <= 0:
            return []
        data = self.read(address, 8 * count)
        return [int.from_bytes(data[at:at + 8], "little") for at in range(0, 8 * count, 8)]

    def string(self, address: int, size_max: int = 256) -> str:
        """A zero-terminated string that may end just before an unreadable page."""
        result = b""
        while len(result) < size_max:
            part = self.read(address + len(result), min(PAGE - (address + len(result)) % PAGE,
                                                        size_max - len(result)))
            end = part.find(b"\0")
            if end >= 0:
                return (result + part[:end]).decode("utf-8", "replace")
            result += part
        return result.decode("utf-8", "replace")

    def list_nodes(self, head: int, count_max: int = 10_000) -> typing.Iterator[int]:
        """Addresses of the nodes of a list_head. A list that was never initialised has a null pointer."""
        yield from self._nodes(self.word(head), {0, head}, count_max)

    def chain(self, first: int, count_max: int = 10_000) -> typing.Iterator[int]:
        """Nodes of a list that ends with a null pointer or (hlist_nulls) an odd one."""
        yield from self._nodes(first, {0}, count_max)

    def _nodes(self, first: int, seen: set[int], count_max: int) -> typing.Iterator[int]:
        node, end = first, count_max + len(seen)
        while node not in seen and not node & 1:
            if len(seen) == end:
                raise Implausible(f"more than {count_max} entries: the list changed while it was read")
            seen.add(node)
            yield node
            node = self.word(node)


def line_mask(offset: int, size: int) -> int:
    """Bits of the lines that some bytes of a page are in."""
    first, last = offset // LINE, (offset + max(size, 1) - 1) // LINE
    return (1 << last - first + 1) - 1 << first


def bitmap(data: bytes) -> typing.Iterator[int]:
    """Numbers of the bits that are set. Word by word: shifting one large number would be quadratic."""
    for place in range(0, len(data), 8):
        value = int.from_bytes(data[place:place + 8], "little")
        while value:
            lowest = value & -value
            yield 8 * place + lowest.bit_length() - 1
            value ^= lowest
