# SPDX-License-Identifier: MIT
"""A ublk queue, its io commands, and the requests behind them.

struct ublk_io has a union of the io command and the request: `cmd` is read only while ACTIVE is set, `req` only while
OWNED_BY_SRV is (before Linux 6.16 there was no union, and the two members are simply both there).
"""

from __future__ import annotations

import functools

from . import constants as c
from .block import Requests, Tags
from .bulk import Columns, array
from .errors import Fault, Implausible
from .kernel import Kernel
from .layout import View
from .model_device import FetchCommand, Fifo, HardwareQueue, Io, Place, Queue, QueueBooleans

Row = dict[str, int | None]
_DEPTH_MAX = 4096  # UBLK_MAX_QUEUE_DEPTH


class QueueReader:
    """Decodes the queues of one device."""

    def __init__(self, kernel: Kernel, flags: int, requeued: set[int], all_tags: bool) -> None:
        self.kernel = kernel
        self.flags = flags
        self.requeued = requeued
        self.all_tags = all_tags
        self.requests = Requests(kernel)
        self.columns = Columns(kernel, kernel.layout("ublk_io"), flags="flags", res="res", cmd="cmd", req="req",
                               task="task", ref="ref.refs.counter", registered="task_registered_buffers",
                               buf_ctx="buf_ctx_handle")

    def decode(self, queue: View, tags_view: View | None, hctx: View | None) -> Queue:
        depth = queue.need("q_depth")
        if depth > _DEPTH_MAX:
            raise Implausible(f"it claims a depth of {depth}")
        rows = list(array(self.kernel, self.columns, self._ios(queue), depth))
        tags = Tags(self.kernel, tags_view) if tags_view else None
        busy = self.kernel.attempt("tag bitmap", tags.busy, None) if tags else None
        requests = self._requests(tags, rows, busy)
        fifo = self.kernel.attempt("event fifo", lambda: self.fifo(queue), None)
        ios, summary = self._decoded(rows, requests, busy, fifo)
        return Queue(
            id=queue.get("q_id"), address=queue.address, depth=depth, flags_raw=queue.get("flags"),
            nr_io_ready=queue.first("nr_io_ready"),
            booleans=QueueBooleans(*map(queue.flag, ("force_abort", "canceling", "fail_io"))),
            daemon=queue.get("ubq_daemon") if queue.has("ubq_daemon") else None,
            tags_busy=None if busy is None else len(busy), tag_waiters=tags.waiters() if tags else None,
            hctx=self.kernel.attempt("hardware queue", functools.partial(self.hctx, hctx)) if hctx else None,
            fifo=fifo, fetch_commands=self.kernel.attempt("fetch commands", lambda: self.fetch(queue)),
            ios=ios, summary=summary)

    def _ios(self, queue: View) -> int:
        return queue.address + queue.layout.locate("ios")[0] // 8

    def _requests(self, tags: Tags | None, rows: list[Row], busy: set[int] | None) -> list[tuple[int, Row | None]]:
        """Request of each tag, decoded where the tag is taken or the io command says that there is one."""
        if tags is None:
            return [(0, None)] * len(rows)
        addresses = self.kernel.attempt("requests of the tags", tags.requests, [0] * len(rows))[:len(rows)]
        addresses += [0] * (len(rows) - len(addresses))
        known = dict(self.requests.rows(
            address for tag, (address, row) in enumerate(zip(addresses, rows))
            if address and (self.all_tags or busy is None or tag in busy or row["ref"]
                            or (row["flags"] or 0) & c.IO_OWNED_BY_SRV)))
        return [(address, known.get(address)) for address in addresses]

    def hctx(self, hctx: View) -> HardwareQueue:
        return HardwareQueue(state=self.kernel.bits("BLK_MQ_S_STOPPED", hctx.get("state") or 0, "BLK_MQ_S_"),
                             dispatch=sum(1 for _node in self.kernel.memory.list_nodes(hctx.place("dispatch"))),
                             active=hctx.get("nr_active.counter"))

    def fifo(self, queue: View) -> Fifo | None:
        """Tags that wait for a fetch command (batch only): a kfifo of unsigned short."""
        if not self.flags & c.F_BATCH_IO or not queue.has("evts_fifo.kfifo.in"):
            return None
        head, tail, mask, data = (queue.need(f"evts_fifo.kfifo.{name}") for name in ("in", "out", "mask", "data"))
        if mask >= 2 * _DEPTH_MAX:
            raise Implausible(f"it claims {mask + 1} places")
        count = (head - tail) & 0xFFFFFFFF
        if count > mask + 1:
            return Fifo(count, mask + 1, None)
        values = self.kernel.memory.read(data, 2 * (mask + 1))
        places = [2 * ((tail + number) & mask) for number in range(count)]
        return Fifo(count, mask + 1, [int.from_bytes(values[place:place + 2], "little") for place in places])

    def fetch(self, queue: View) -> list[FetchCommand] | None:
        """FETCH_IO_CMDS commands that the server has pending (batch only; else the list head is zero)."""
        if not self.flags & c.F_BATCH_IO or not queue.has("fcmd_head"):
            return None
        active, result = queue.get("active_fcmd"), list[FetchCommand]()
        for node in self.kernel.memory.list_nodes(queue.place("fcmd_head")):
            command = self.kernel.container("ublk_batch_fetch_cmd", "node", node)
            result.append(FetchCommand(command.address, command.get("cmd"), command.get("buf_group"),
                                       command.address == active))
        if active and not any(command.active for command in result):
            result.append(FetchCommand(active, None, None, True))
        return result

    def _decoded(self, rows: list[Row], requests: list[tuple[int, Row | None]], busy: set[int] | None,
                 fifo: Fifo | None) -> tuple[list[Io], dict[str, int]]:
        shown, summary = [], dict.fromkeys([*(place.value for place in Place), "references_out"], 0)
        waiting = set(fifo.tags or () if fifo else ())
        for tag, (row, (address, request)) in enumerate(zip(rows, requests)):
            place, plain = self._place(tag, row, address, request, busy, waiting)
            summary[place.value] += 1
            if self._references(row) not in (0, None):
                summary["references_out"] += 1
            if self.all_tags or not plain:
                shown.append(self._io(tag, row, address, request, place))
        return shown, summary

    def _place(self, tag: int, row: Row, address: int, request: Row | None, busy: set[int] | None, waiting: set[int]
               ) -> tuple[Place, bool]:
        """Where a tag's request is, and whether there is nothing to say about it."""
        flags = row["flags"] or 0
        state = self.requests.state(request) if request and request["tag"] == tag else "IDLE"
        taken = busy is None or tag in busy
        references = self._references(row)
        if not c.io_flags_known(flags):
            return Place.UNKNOWN, False
        if address in self.requeued and taken and state == "IDLE":
            return Place.REQUEUED, False
        if flags & c.IO_OWNED_BY_SRV and not flags & c.IO_ACTIVE:
            return Place.OWNED_BY_SERVER, False
        if tag in waiting or (state == "IN_FLIGHT" and taken and not flags & c.IO_OWNED_BY_SRV):
            return Place.DISPATCHED, False
        odd = bool(flags & c.IO_OWNED_BY_SRV) or references not in (0, None)
        if flags & c.IO_CANCELED:
            return Place.CANCELED, not odd
        if flags & c.IO_ACTIVE or self.flags & c.F_BATCH_IO:
            return Place.WAITING, not odd
        return Place.NO_COMMAND, not odd and not taken

    def _references(self, row: Row) -> int | None:
        """References beyond those that every dispatched request has (ublk_check_and_reset_active_ref())."""
        if row["ref"] is None:
            return None
        total = row["ref"] + (row["registered"] or 0)
        if row["flags"] is not None and row["flags"] & c.IO_OWNED_BY_SRV:
            return total - c.REFCOUNT_INIT if self.flags & c.F_WITH_REFERENCES else total
        return total

    def _io(self, tag: int, row: Row, address: int, request: Row | None, place: Place) -> Io:
        flags = row["flags"] or 0
        owned = flags & c.IO_OWNED_BY_SRV and not flags & c.IO_ACTIVE
        command = (row["cmd"] or None) if self._has_command(flags) else None
        return Io(
            tag=tag, place=place, flags=c.IO_FLAGS.names(flags), flags_raw=flags, res=row["res"],
            task=row["task"] or None, ref=row["ref"], task_registered_buffers=row["registered"],
            references_out=self._references(row), buf_ctx_handle=row["buf_ctx"] or None, cmd=command,
            req=(row["req"] or None) if owned else None, ring=self._ring_of(command) if command else None,
            request=self.requests.decode(address, request) if request else None)

    def _has_command(self, flags: int) -> bool:
        """With batch delivery no io has a command of its own, and the union holds what was there before."""
        return bool(flags & c.IO_ACTIVE) and not flags & c.IO_OWNED_BY_SRV and not self.flags & c.F_BATCH_IO

    def _ring_of(self, command: int) -> int | None:
        """The io_uring that an active io command came from: io_uring_cmd is the start of its io_kiocb."""
        try:
            return self.kernel.view("io_kiocb", command).get("ctx")
        except Fault:
            return None
