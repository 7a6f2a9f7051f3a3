# SPDX-License-Identifier: MIT
"""Symbols: from /proc/kallsyms live, from the kernel's own tables in a dump, from a recording."""

from __future__ import annotations

import bisect
import struct
import typing

from .errors import CannotRead, errno_text
from .memory import Memory

_ALIASES_BYTES = 4096  # of text before a symbol, in which its other names are


class Symbol(typing.NamedTuple):
    name: str
    offset: int
    module: str | None

    def __str__(self) -> str:
        text = f"{self.name}+{self.offset:#x}"
        return f"{text} [{self.module}]" if self.module else text


class Symbols(typing.Protocol):
    def address(self, name: str) -> int | None: ...
    def at(self, address: int) -> Symbol | None: ...


class TextSymbols:
    """The text of /proc/kallsyms. It is sorted except for modules, so no line is parsed that is not asked for."""

    def __init__(self, text: bytes) -> None:
        first_module = text.find(b"\t[")
        cut = text.rfind(b"\n", 0, first_module) + 1 if first_module >= 0 else len(text)
        self._core, self._modules_text = text[:cut], text[cut:]
        self._modules: list[tuple[int, str, str | None]] | None = None

    def address(self, name: str) -> int | None:
        wanted = b" " + name.encode()
        for text, ends in ((self._core, (b"\n",)), (self._modules_text, (b"\t", b"\n"))):
            for end in ends:
                found = text.find(wanted + end)
                if found >= 0:
                    start = text.rfind(b"\n", 0, found) + 1
                    return int(text[start:found].split()[0], 16) or None
        return None

    def at(self, address: int) -> Symbol | None:
        best = max(filter(None, (self._at_core(address), self._at_module(address))),
                   key=lambda row: row[0], default=None)
        return Symbol(best[1], address - best[0], best[2]) if best else None

    def _at_core(self, address: int) -> tuple[int, str, str | None] | None:
        text, low, high, found = self._core, 0, len(self._core), b""
        while low < high:
            start = text.rfind(b"\n", 0, (low + high) // 2) + 1
            end = text.find(b"\n", start) + 1 or len(text)
            if int(text[start:text.index(b" ", start)], 16) <= address:
                found, low = text[start:end], end
            else:
                high = start
        if not found:
            return None
        fields = found.split()
        # Of several names the first one, as the kernel does (get_symbol_pos() of kernel/kallsyms.c).
        first = text.find(b"\n" + fields[0] + b" ", max(0, low - _ALIASES_BYTES), low)
        if first >= 0:
            fields = text[first + 1:text.index(b"\n", first + 1)].split()
        return int(fields[0], 16), fields[2].decode(), None

    def _at_module(self, address: int) -> tuple[int, str, str | None] | None:
        if self._modules is None:
            rows = (line.split() for line in self._modules_text.decode("utf-8", "replace").split("\n"))
            self._modules = sorted((int(row[0], 16), row[2], row[3].strip("[]") if len(row) > 3 else None)
                                   for row in rows if len(row) >= 3)
        place = bisect.bisect_right(self._modules, (address, "\U0010ffff", None)) - 1
        return self._modules[place] if place >= 0 else None


class TableSymbols:
    """Symbols as sorted (address, name, module) rows."""

    def __init__(self, rows: list[tuple[int, str, str | None]]) -> None:
        self._rows = sorted(rows, key=lambda row: row[0])
        self._addresses = [row[0] for row in self._rows]
        self._by_name: dict[str, int] = {}
        for address, name, _module in self._rows:
            self._by_name.setdefault(name, address)

    def address(self, name: str) -> int | None:
        return self._by_name.get(name)

    def at(self, address: int) -> Symbol | None:
        place = bisect.bisect_right(self._addresses, address) - 1
        if place < 0:
            return None
        start, name, module = self._rows[bisect.bisect_left(self._addresses, self._addresses[place])]
        return Symbol(name, address - start, module)


class RecordedSymbols:
    """What a recording kept: the answers that were given."""

    def __init__(self, names: dict[str, int | None], addresses: dict[int, Symbol | None]) -> None:
        self._names, self._addresses = names, addresses

    def address(self, name: str) -> int | None:
        return self._names.get(name)

    def at(self, address: int) -> Symbol | None:
        return self._addresses.get(address)


class RememberedSymbols:
    """Keeps each answer, for speed and for a recording."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self.names: dict[str, int | None] = {}
        self.addresses: dict[int, Symbol | None] = {}

    def address(self, name: str) -> int | None:
        if name not in self.names:
            self.names[name] = self._symbols.address(name)
        return self.names[name]

    def at(self, address: int) -> Symbol | None:
        if address not in self.addresses:
            self.addresses[address] = self._symbols.at(address)
        return self.addresses[address]


def live_symbols(path: str = "/proc/kallsyms") -> TextSymbols:
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise CannotRead("open", path, errno_text(error), "run as root") from error
    if not any(digit not in b"0" for digit in text[:16]) and b"\n0000000000000000 T init_task\n" in text:
        raise CannotRead("read", path, "all addresses are zero", "run as root, with kernel.kptr_restrict below 2")
    return TextSymbols(text)


class BuiltinTables:
    """Where scripts/kallsyms put its tables; a dump's VMCOREINFO has the addresses (Linux 6.0)."""

    def __init__(self, memory: Memory, info: dict[str, int], name: str) -> None:
        needed = ("kallsyms_names", "kallsyms_num_syms", "kallsyms_token_table", "kallsyms_token_index",
                  "kallsyms_offsets")
        absent = [word for word in needed if word not in info]
        if absent:
            raise CannotRead("read", name, f"VMCOREINFO does not say where {absent[0]} is",
                             "kernels before 6.0 need debug information")
        self._memory, self._info = memory, info

    def rows(self) -> list[tuple[int, str, str | None]]:
        count = int.from_bytes(self._memory.read(self._info["kallsyms_num_syms"], 4), "little")
        if not 0 < count < 4_000_000:
            raise CannotRead("read", "kallsyms of the dump", f"it claims {count} symbols", "the dump is damaged")
        addresses = self._addresses(count)
        return [(address, name, None) for address, name in zip(addresses, self._names(count))]

    def _addresses(self, count: int) -> list[int]:
        table = self._info["kallsyms_offsets"]
        offsets = struct.unpack(f"<{count}i", self._memory.read(table, 4 * count))
        base = self._info.get("kallsyms_relative_base")
        if base is None:
            # Linux 7.0 stores each address relative to the place where it is stored.
            return [(table + 4 * number + offset) & (1 << 64) - 1 for number, offset in enumerate(offsets)]
        relative = self._memory.word(base)
        if any(offset < 0 for offset in offsets):  # CONFIG_KALLSYMS_ABSOLUTE_PERCPU
            return [offset if offset >= 0 else relative - 1 - offset for offset in offsets]
        return [relative + offset for offset in offsets]

    def _names(self, count: int) -> typing.Iterator[str]:
        index = struct.unpack("<256H", self._memory.read(self._info["kallsyms_token_index"], 512))
        table = self._memory.read(self._info["kallsyms_token_table"], index[255] + 128)
        tokens = [table[start:table.index(b"\0", start)].decode("ascii", "replace") for start in index]
        start, position = self._info["kallsyms_names"], 0
        window = self._memory.read(start, 1 << 16)
        for _number in range(count):
            if len(window) - position < 4096:
                start += position
                window, position = self._memory.read(start, 1 << 16), 0
            length = window[position]
            position += 1
            if length & 0x80:  # a long symbol, Linux 6.1
                length = length & 0x7F | window[position] << 7
                position += 1
            yield "".join([tokens[byte] for byte in window[position:position + length]])[1:]
            position += length
