# SPDX-License-Identifier: MIT
"""What two samples have in common. A live snapshot is not atomic, and work in progress is not stuck."""

from __future__ import annotations

import typing

from .model import Dump
from .model_device import Device, Io, Mount, Opener, RegisteredFile
from .model_task import Ring


def in_order(dump: Dump) -> None:
    """The same order whatever order the kernel's lists were in, so that no rule can depend on it."""
    def by(*names: str) -> typing.Callable[[typing.Any], list[tuple[bool, typing.Any]]]:
        return lambda row: [(value is not None, value or 0) for value in (getattr(row, name) for name in names)]

    dump.devices.sort(key=by("id", "address"))
    for device in dump.devices:
        device.queues.sort(key=by("id", "address"))
        for queue in device.queues:
            queue.ios.sort(key=by("tag"))
        if device.openers:
            device.openers.char.sort(key=opener_order)
            device.openers.block.sort(key=opener_order)
            device.openers.mounts.sort(key=opener_order)
    dump.tasks.sort(key=by("pid", "address"))
    dump.rings.sort(key=by("address"))
    for ring in dump.rings:
        ring.users.sort()
        ring.buffers.sort(key=by("slot"))
        ring.fds.sort(key=by("pid", "fd"))
    dump.control_commands.sort(key=by("device", "command", "issuer", "worker", "ring"))
    dump.works.sort(key=by("work", "of", "task"))


def opener_order(row: Opener | RegisteredFile | Mount) -> tuple[typing.Any, ...]:
    if isinstance(row, Mount):
        return row.how, str(row.id)
    if isinstance(row, RegisteredFile):
        return row.how, row.ring, row.slot
    return row.how, row.pid, row.fd or 0


def instance(device: Device) -> tuple[typing.Any, ...]:
    """Numbers, and the memory of a device, are used again; what one server's device did is no sign of another's."""
    return device.id, device.address, device.request_queue.address, device.info.get("ublksrv_pid"), device.ch_file


def identity(io: Io) -> tuple[typing.Any, ...]:
    request = io.request
    return (io.flags_raw, io.place, io.ref, *(
        (request.address, request.tag, request.start_time_ns, request.state) if request else ()))


def confirm(dump: Dump, earlier: Dump) -> None:
    """Marks what is the same in both samples, and what has gone on."""
    before = {(instance(device), queue.id, io.tag): identity(io) for device in earlier.devices
              for queue in device.queues for io in queue.ios}
    fetched = {instance(device): ready(device) for device in earlier.devices}
    for device in dump.devices:
        this = instance(device)
        device.fetching = fetched.get(this, ready(device)) != ready(device)
        for queue in device.queues:
            for io in queue.ios:
                io.confirmed = before.get((this, queue.id, io.tag)) == identity(io)
    confirm_rings(dump, earlier)
    confirm_tasks(dump, earlier)
    commands = {(row.command, row.device, row.worker, row.issuer) for row in earlier.control_commands}
    for command in dump.control_commands:
        command.confirmed = (command.command, command.device, command.worker, command.issuer) in commands
    works = {(work.work, work.of): work for work in earlier.works}
    for work in dump.works:
        known = works.get((work.work, work.of))
        work.confirmed = known is not None
        work.spins = work.state == "R" and known is not None and known.state == "R"
    if dump.control_mutex:
        mutex = earlier.control_mutex
        dump.control_mutex.confirmed = mutex is not None and mutex.owner == dump.control_mutex.owner


def ready(device: Device) -> list[int | None]:
    return [queue.nr_io_ready for queue in device.queues]


def confirm_rings(dump: Dump, earlier: Dump) -> None:
    rings = {ring.address: ring for ring in earlier.rings}
    for ring in dump.rings:
        first = rings.get(ring.address)
        ring.progress = first is not None and (first.cached_sq_head, first.cached_cq_tail) != (
            ring.cached_sq_head, ring.cached_cq_tail)
        ring.reaped = first is not None and cq_head(first) != cq_head(ring)


def cq_head(ring: Ring) -> int | None:
    return ring.queues.cq.head if ring.queues and ring.queues.cq else None


def confirm_tasks(dump: Dump, earlier: Dump) -> None:
    counts = {quota.path: quota.nr_throttled for task in earlier.tasks for quota in task.quotas}
    for task in dump.tasks:
        for quota in task.quotas:
            quota.throttled_more = (quota.nr_throttled or 0) > (counts.get(quota.path, quota.nr_throttled) or 0)
