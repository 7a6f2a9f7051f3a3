# SPDX-License-Identifier: MIT
"""Who waits for whom, and so which finding is whose consequence: never by what else is stuck on the machine."""

from __future__ import annotations

import typing

from .document import bare
from .model import Dump, Edge, Finding, Severity
from .model_device import TAKEN, Device, Io, Opener, Place
from .model_task import Command, Task

_TURN = {Place.OWNED_BY_SERVER: "commit", Place.DISPATCHED: "task work", Place.REQUEUED: "recovery"}
_FREEZING = {"blk_mq_freeze_queue_wait", "ublk_stop_dev_unlocked", "ublk_stop_dev", "del_gendisk"}


class WaitGraph:
    """`edges` are those of the document; what only a search needs is a way: from a task to the devices it waits for."""

    def __init__(self, dump: Dump) -> None:
        self.tasks = {task.address: task for task in dump.tasks}
        self.edges: dict[tuple[str, str], Edge] = {}
        self.ways: dict[int, set[int | None]] = {}
        for device in dump.devices:
            for tag, io in taken(device):
                self.edge(self.node(io.client), tag, "I/O")
                server = None if io.place == Place.REQUEUED else self.node(io.task)
                self.edge(tag, server or f"server:{device.id}", _TURN[io.place])
            for address in [*(io.client for io in device.ios), *(device.request_queue.freeze_waiters or ()),
                            *(work.task for work in dump.works if work.of == device.address)]:
                self.way(address, device.id)
        for task in dump.tasks:
            self.edge(self.node(task.address), self.node(owner(task)), "mutex")
        for command in dump.control_commands:
            self.edge(self.node(command.issuer), self.node(command.worker), command.command)
            worker = self.tasks.get(command.worker or 0)
            if worker is None or not owner(worker):  # else it waits behind that mutex, not at its command's device
                self.way(command.worker, command.device)
            for device in dump.devices:
                if worker and not worker.blocked_on and device.id == command.device:
                    for end, why in self.ends(command, worker, device):
                        self.edge(self.node(worker.address), end, why)
        self.way(dump.control_mutex.owner if dump.control_mutex else None, None)

    def node(self, address: int | None) -> str | None:
        task = self.tasks.get(address or 0)
        return f"task:{task.pid}" if task else None

    def edge(self, start: str | None, end: str | None, why: str) -> None:
        if start and end and start != end:
            self.edges.setdefault((start, end), Edge(start, end, why))

    def way(self, address: int | None, device: int | None) -> None:
        if address:
            self.ways.setdefault(address, set()).add(device)

    def ends(self, command: Command, worker: Task, device: Device) -> typing.Iterator[tuple[str, str]]:
        """The nodes that a command waits for, and why."""
        if _FREEZING & set(map(bare, worker.stack)):
            yield from ((tag, "freeze") for tag, _io in taken(device))
        elif command.command in ("START_DEV", "END_USER_RECOVERY"):
            yield f"server:{device.id}", "fetch of all tags"
        elif command.command == "DEL_DEV":
            for row in [*device.opened.char, *device.opened.block]:
                if isinstance(row, Opener):
                    yield self.node(row.task) or f"task:{row.pid}", "close"

    def reached(self, finding: Finding) -> set[int | None]:
        """The devices that a finding waits for, where the search ends: what those wait for they say themselves. None
        stands for what belongs to no device, such as ublk_ctl_mutex without a living owner."""
        if not finding.waits_behind:
            return {finding.device}
        devices: set[int | None] = set()
        left, seen = list(finding.waits_behind), set[int]()
        while left:
            address = left.pop()
            if address not in seen:
                seen.add(address)
                devices |= self.ways.get(address, set())
                task = self.tasks.get(address)
                if task and (holder := owner(task)):
                    left.append(holder)
        return devices

    def settle(self, found: list[Finding]) -> None:
        """A consequence without a cause that it waits for is work in progress."""
        causes = [finding for finding in found if finding.severity in (Severity.DEFECT, Severity.HANG)]
        causes.sort(key=lambda finding: str(finding.device))
        for finding in found:
            if finding.severity == Severity.CONSEQUENCE:
                devices = self.reached(finding)
                behind = [cause for cause in causes if cause.device in devices]
                if not behind:
                    finding.severity = Severity.SLOW
                    finding.text += " (no cause is stuck: in progress)"
                finding.evidence += dict.fromkeys(
                    f"waits for device {cause.device}, which has {cause.code}" for cause in behind
                    if cause.device not in (None, finding.device))


def owner(task: Task) -> int | None:
    """Who has the mutex that a task waits for."""
    return task.blocked_on.owner if task.blocked_on else None


def taken(device: Device) -> typing.Iterator[tuple[str, Io]]:
    """Requests that somebody has, with their nodes."""
    return ((f"tag:{device.id}/{queue.id}/{io.tag}", io) for queue in device.queues for io in queue.ios
            if io.place in TAKEN)
