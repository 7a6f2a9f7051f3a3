# SPDX-License-Identifier: MIT
"""Stacks of tasks that do not run, by the kernel's own ORC tables (x86-64).

drgn before 0.2 cannot read the tables of Linux 7.1 and then shows two frames without a warning, and /proc/PID/stack
needs a live kernel and hides the functions of the scheduler and of locks. The walk is that of the kernel's
unwind_next_frame() (arch/x86/kernel/unwind_orc.c) for frames of plain calls.
"""

from __future__ import annotations

import dataclasses

from . import modules
from .bulk import Columns
from .errors import Fault, MissingType
from .kernel import Kernel
from .layout import Layout, View

_FRAMES_MAX = 64
_TRIES_MAX = 3
_SAMPLE = 2000
# Register numbers of sp_reg and bp_reg: (SP, BP, PREV_SP, SP_INDIRECT, BP_INDIRECT), since Linux 7.1 and before.
_NUMBERS = {3: (3, 4, 8, 9, 10), 5: (5, 4, 1, 9, 8)}
_TYPE_CALL = 2
_UNDEFINED = 0


@dataclasses.dataclass(frozen=True)
class Table:
    """Sorted places and the entry of each, of vmlinux or of one module."""

    ips: int
    entries: int
    count: int


class Unwinder:
    """Raises MissingType where the kernel has no ORC tables."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.memory = kernel.memory.apart()  # stacks are recorded as names
        start, stop, entries = (kernel.symbols.address(name) for name in (
            "__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind"))
        if not start or not stop or not entries:
            raise MissingType("this kernel has no ORC tables")
        layout = kernel.layout("orc_entry")
        self.columns = Columns(kernel, layout, sp_offset="sp_offset", bp_offset="bp_offset", sp_reg="sp_reg",
                               bp_reg="bp_reg", type="type")
        self.stack = self.memory  # of the task at hand, read anew for each
        self.core = Table(start, entries, (stop - start) // 4)
        self.modules: list[tuple[int, int, Table]] | None = None
        self.known: dict[int, dict[str, int | None] | None] = {}  # most stacks go through the same few places
        self.sp, self.bp, self.prev_sp, self.sp_indirect, self.bp_indirect = self._numbering()

    def _numbering(self) -> tuple[int, int, int, int, int]:
        """Most frames are found by SP, so its number is the most frequent one; versions need not be compared."""
        size, counts = self.columns.layout.size, [0] * 16
        data = self.memory.read(self.core.entries, size * min(_SAMPLE, self.core.count))
        for start in range(0, len(data) - size + 1, size):
            counts[(self.columns.row(data, start)["sp_reg"] or 0) & 15] += 1
        counts[_UNDEFINED] = 0
        number = counts.index(max(counts))
        if number not in _NUMBERS:
            raise MissingType(f"ORC tables use {number} for the stack pointer, which is not known")
        return _NUMBERS[number]

    def _table(self, pc: int) -> Table | None:
        low = self._place(self.core, 0)
        if low <= pc <= self._place(self.core, self.core.count - 1) + 4096:
            return self.core
        if self.modules is None:
            self.modules = self.kernel.attempt("ORC tables of modules", self._module_tables, [])
        return next((table for first, last, table in self.modules or () if first <= pc <= last + 4096), None)

    def _module_tables(self) -> list[tuple[int, int, Table]]:
        result = []
        for module in modules.loaded(self.kernel):
            count = module.get("arch.num_orcs")
            if count:
                table = Table(module.need("arch.orc_unwind_ip"), module.need("arch.orc_unwind"), count)
                result.append((self._place(table, 0), self._place(table, count - 1), table))
        return result

    def _place(self, table: Table, number: int) -> int:
        address = table.ips + 4 * number
        return address + int.from_bytes(self.memory.read(address, 4), "little", signed=True)

    def _entry(self, pc: int) -> dict[str, int | None] | None:
        if pc not in self.known:
            self.known[pc] = self._find(pc)
        return self.known[pc]

    def _find(self, pc: int) -> dict[str, int | None] | None:
        table = self._table(pc)
        if table is None:
            return None
        low, high = 0, table.count
        while low < high:
            middle = (low + high) // 2
            if self._place(table, middle) <= pc:
                low = middle + 1
            else:
                high = middle
        if not low:
            return None
        size = self.columns.layout.size
        return self.columns.row(self.memory.read(table.entries + size * (low - 1), size))

    def frames(self, task: View) -> list[int]:
        """Program counters from the innermost frame on; none if the task runs, or ran while its stack was read."""
        on_cpu, place = task.layout.slot("on_cpu"), task.place("thread.sp")

        def now() -> tuple[int, bool]:
            """Not from the sample's pages: the task may have run since they were read."""
            fresh = self.memory.apart()
            running = bool(on_cpu and on_cpu.decode(fresh.read(task.address + on_cpu.offset, on_cpu.size),
                                                    -on_cpu.offset))
            return fresh.word(place), running

        for _try in range(_TRIES_MAX):
            sp, running = now()
            if running:
                return []
            self.stack = self.memory.apart()
            found = self._walk(task, sp)
            if now() == (sp, False):
                return found
        return []

    def _walk(self, task: View, sp: int) -> list[int]:
        word = self.stack.word
        frame = self.kernel.layout("inactive_task_frame")
        data, size = self.stack.read(sp, frame.size), frame.size
        pc, bp, sp = self._slot(frame, "ret_addr", data), self._slot(frame, "bp", data), sp + size
        bottom = task.need("stack")
        result = [pc]
        while len(result) < _FRAMES_MAX:
            entry = self._entry(pc - 1)
            if entry is None or entry["type"] != _TYPE_CALL:
                break
            top = self._previous_sp(entry, sp, bp)
            if top is None or not bottom <= top - 8 < bottom + (1 << 17):
                break
            try:
                pc, bp = word(top - 8), self._previous_bp(entry, top, bp)
            except Fault:
                break
            if not pc:
                break
            sp = top
            result.append(pc)
        return result

    @staticmethod
    def _slot(layout: Layout, path: str, data: bytes) -> int:
        slot = layout.slot(path)
        if slot is None:
            raise MissingType(f"{layout.name} has no {path}")
        return slot.decode(data)

    def _previous_sp(self, entry: dict[str, int | None], sp: int, bp: int) -> int | None:
        register, offset = entry["sp_reg"], entry["sp_offset"] or 0
        try:
            if register == self.sp:
                return sp + offset
            if register == self.bp:
                return bp + offset
            if register == self.sp_indirect:
                return self.stack.word(sp) + offset
            if register == self.bp_indirect:
                return self.stack.word(bp + offset)
        except Fault:
            return None
        return None

    def _previous_bp(self, entry: dict[str, int | None], top: int, bp: int) -> int:
        register, offset = entry["bp_reg"], entry["bp_offset"] or 0
        if register == self.prev_sp:
            return self.stack.word(top + offset)
        if register == self.bp:
            return self.stack.word(bp + offset)
        return bp
