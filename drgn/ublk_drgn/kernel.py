# SPDX-License-Identifier: MIT
"""One kernel to look at: its memory, its types, its symbols, and its clock."""

from __future__ import annotations

import typing

import drgn

from .errors import Fault, MissingType
from .kallsyms import RememberedSymbols, Symbol
from .layout import Layout, View
from .memory import Memory
from .type_finder import TypeFinder

# BTF describes no global variables but the per-CPU ones. Read for Linux 6.1 to 7.3; a name that the kernel at hand
# does not have is reported as missing when it is used.
VARIABLES = {
    "ublk_index_idr": "idr",
    "ublk_ctl_mutex": "mutex",
    "init_task": "task_struct",
    "timekeeper_data": "tk_data",  # Linux 6.13; tk_core before, of an unnamed type until then
    "tk_core": "tk_data",
    "init_uts_ns": "uts_namespace",
}


# What a dump looks at grows; a recording has what was looked at when it was made. 2: cgroups, quotas, users of the
# block device inside the kernel, who waits for a frozen queue, workers of io-wq.
LOOKS_AT = 2


class Kernel:
    """`source` is live, vmcore or recording; `now_ns` is CLOCK_MONOTONIC of the kernel that is looked at."""

    def __init__(self, prog: drgn.Program, memory: Memory, symbols: RememberedSymbols, *, source: str,
                 types_from: str, release: str, finder: TypeFinder | None = None) -> None:
        self.prog = prog
        self.memory = memory
        self.symbols = symbols
        self.source = source
        self.types_from = types_from
        self.release = release
        self.finder = finder
        self.now_ns = 0
        self.looks_at = LOOKS_AT
        self.missing: dict[str, None] = {}
        self.errors: list[str] = []
        self._layouts: dict[str, Layout] = {}
        self._enumerations: dict[str, dict[int, str]] = {}

    def layout(self, struct: str) -> Layout:
        """Members of 'struct NAME'."""
        if struct not in self._layouts:
            try:
                found = self.prog.type(f"struct {struct}")
            except LookupError:
                raise MissingType(f"this kernel's {self.types_from} has no struct {struct}") from None
            self._layouts[struct] = Layout(found, f"struct {struct}")
        return self._layouts[struct]

    def layout_of(self, type_: drgn.Type, name: str) -> Layout:
        if name not in self._layouts:
            self._layouts[name] = Layout(type_, name)
        return self._layouts[name]

    def view(self, struct: str, address: int) -> View:
        return View(self, self.layout(struct), address)

    def container(self, struct: str, member: str, address: int) -> View:
        """The structure whose member is at an address."""
        layout = self.layout(struct)
        return View(self, layout, address - layout.locate(member)[0] // 8)

    def variable(self, name: str) -> View | None:
        address = self.symbols.address(name)
        if address is None:
            self.note_missing("variable", name)
            return None
        return self.view(VARIABLES[name], address)

    def is_symbol(self, address: int | None, *names: str) -> bool:
        """Whether a function pointer is one of these functions."""
        if not address:
            return False
        symbol = self.symbols.at(address)
        return symbol is not None and symbol.offset == 0 and symbol.name in names

    def is_symbol_at(self, address: int | None, name: str) -> bool:
        """Whether an address is that of a variable."""
        return bool(address) and address == self.symbols.address(name)

    def symbol(self, address: int | None) -> Symbol | None:
        return self.symbols.at(address) if address else None

    def enumeration(self, enumerator: str) -> dict[int, str]:
        """Value to name of the enumeration that has this enumerator; empty where the types do not have it."""
        if enumerator not in self._enumerations:
            self._enumerations[enumerator] = self._find_enumeration(enumerator)
        return self._enumerations[enumerator]

    def _find_enumeration(self, enumerator: str) -> dict[int, str]:
        if self.finder:
            return self.finder.enumeration(enumerator)
        try:
            type_ = self.prog.constant(enumerator).type_
        except LookupError:
            return {}
        return {value: name for name, value in (type_.enumerators or ())}

    def bits(self, enumerator: str, value: int, strip: str) -> list[str]:
        """Names of the bits of a flag word, out of an enumeration of bit numbers; unknown ones say so."""
        names = self.enumeration(enumerator)
        return [names.get(bit, f"bit{bit}?").removeprefix(strip) for bit in range(value.bit_length())
                if value >> bit & 1]

    def note_missing(self, struct: str, path: str) -> None:
        self.missing.setdefault(f"{struct} has no {path} in this kernel" if struct != "variable" else
                                f"no address is known of {path}")

    def attempt(self, what: str, action: typing.Callable[[], typing.Any], fallback: typing.Any = None) -> typing.Any:
        """The result of `action`; what memory or types refuse is noted and does not end the dump."""
        bound = self.memory.bound
        outer, bound.part = bound.part, what
        try:
            result = action()
        except (Fault, MissingType, drgn.FaultError, LookupError, ValueError, OverflowError) as error:
            self.errors.append(f"{what}: {error}")
            result = fallback
        bound.part = outer
        return result

    def added(self, what: str, action: typing.Callable[[], typing.Any]) -> typing.Any:
        """What recordings of before have nothing for."""
        return self.attempt(what, action) if self.looks_at >= LOOKS_AT else None

    def cpu_sum(self, percpu_address: int) -> int:
        """Sum of a per-CPU s32 over all CPUs."""
        offsets, count = self.symbols.address("__per_cpu_offset"), self.symbols.address("nr_cpu_ids")
        if offsets is None or count is None:
            return 0
        total = 0
        for offset in self.memory.words(offsets, int.from_bytes(self.memory.read(count, 4), "little")):
            try:
                address = (percpu_address + offset) & (1 << 64) - 1
                total += int.from_bytes(self.memory.read(address, 4), "little", signed=True)
            except Fault:
                continue
        return total


def memory_clock_ns(kernel: Kernel) -> int:
    """CLOCK_MONOTONIC as of the last tick, out of the timekeeper: a dump's age is not the host's."""
    for name in ("timekeeper_data", "tk_core"):
        if kernel.symbols.address(name):
            core = kernel.variable(name)
            assert core is not None
            base = core.need("timekeeper.tkr_mono.base")
            return base + (core.need("timekeeper.tkr_mono.xtime_nsec") >> core.need("timekeeper.tkr_mono.shift"))
    kernel.note_missing("variable", "timekeeper_data")
    return 0
