# SPDX-License-Identifier: MIT
"""The dump for people: verdict first, then each device, then the tasks that matter."""

from __future__ import annotations

import dataclasses
import typing

from . import fallback, servers
from .document import bare
from .facts import IDLE_WAITS, age
from .model import Dump
from .model_device import TAKEN, Device, Io, Opener, Place, Queue, RegisteredFile
from .model_task import RingFd, Task

_TAGS_SHOWN = 12
_PLACES = {Place.WAITING: "waiting for I/O", Place.OWNED_BY_SERVER: "at the server",
           Place.DISPATCHED: "on the way to the server", Place.REQUEUED: "requeued", Place.CANCELED: "canceled",
           Place.NO_COMMAND: "without a command", Place.UNKNOWN: "unknown"}


def short(row: Task | Opener | RingFd) -> str:
    return f"{row.comm}({row.pid})"


def are_set(booleans: typing.Any) -> str:
    return " ".join(field.name for field in dataclasses.fields(booleans) if getattr(booleans, field.name))


def seconds(value_ns: int | None) -> str:
    return "?" if value_ns is None else f"{value_ns / 1e9:.1f} s"


def tag_list(tags: typing.Sequence[int]) -> str:
    """Runs of tags as ranges."""
    runs: list[list[int]] = []
    for tag in sorted(tags):
        if runs and tag == runs[-1][1] + 1:
            runs[-1][1] = tag
        else:
            runs.append([tag, tag])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    more = len(shown) - _TAGS_SHOWN
    return ",".join(shown[:_TAGS_SHOWN]) + (f" and {more} more runs" if more > 0 else "")


def render(dump: Dump) -> str:
    lines = [*header(dump), *findings(dump)]
    for device in dump.devices:
        lines += ["", *device_lines(dump, device)]
    if dump.source.access != "memory":
        lines += ["", *fallback.render(dump)]
    lines += command_lines(dump)
    lines += task_lines(dump)
    lines += graph_lines(dump)
    if dump.missing or dump.errors:
        lines += ["", "Not in this dump:"]
        lines += [f"  {line}" for line in [*dump.missing, *dump.errors]]
    return "\n".join(lines) + "\n"


def header(dump: Dump) -> list[str]:
    source = dump.source
    return [f"ublk-dump: {source.kernel}, {source.kind}, types from {source.types}, "
            f"{dump.samples} sample(s), {len(dump.devices)} device(s)",
            f"verdict: {dump.verdict.line}"
            + (" (partial: see the end)" if dump.verdict.partial else "")]


def findings(dump: Dump) -> list[str]:
    lines: list[str] = []
    for finding in dump.findings:
        where = [f"device {finding.device}"] if finding.device is not None else []
        if finding.queue is not None:
            where.append(f"queue {finding.queue}")
        if finding.tags:
            where.append(f"tag(s) {tag_list(finding.tags)}")
        since = f", for {seconds(finding.since_ns)}" if finding.since_ns is not None else ""
        lines += ["", f"{finding.severity.value.upper()} {finding.code} ({finding.catalogue})"
                      f" {' '.join(where)}{since}",
                  f"  {finding.text}; it is the turn of: {finding.owner}"]
        lines += [f"  - {line}" for line in finding.evidence]
        if finding.ruled_out:
            lines.append(f"  ruled out: {'; '.join(finding.ruled_out)}")
        lines.append(f"  do: {finding.next_step}")
    return lines


def device_lines(dump: Dump, device: Device) -> list[str]:
    info = device.info
    lines = [f"device {device.id}: {device.state}, state bits {'|'.join(device.state_bits) or '0'}, "
             f"{servers.words(device)}, {info.get('nr_hw_queues')} queue(s) of depth {info.get('queue_depth')}",
             f"  flags {'|'.join(device.flags)}",
             f"  {are_set(device.booleans) or 'no boolean set'}; {device.nr_queue_ready} queue(s) ready; char file "
             f"{'open' if device.ch_file or device.opened.char else 'closed'}"]
    if device.disk:
        requests = device.request_queue
        lines.append(f"  {device.disk.name}: {device.disk.openers} opener(s), freeze depth "
                     f"{requests.freeze_depth}, quiesce depth {requests.quiesce_depth}, "
                     f"queue flags {'|'.join(requests.flags)}, requeue list {len(requests.requeued)}")
    else:
        lines.append("  no disk")
    for queue in device.queues:
        lines += queue_lines(queue)
    lines += opener_lines(dump, device)
    return lines


def queue_lines(queue: Queue) -> list[str]:
    booleans = are_set(queue.booleans)
    counts = ", ".join(f"{value} {_PLACES[Place(name)]}" for name, value in queue.summary.items()
                       if value and name != "references_out")
    lines = [f"  queue {queue.id}: {queue.nr_io_ready}/{queue.depth} fetched, {queue.tags_busy} tag(s) taken; "
             f"{counts}" + (f"; {booleans}" if booleans else "")]
    if queue.fifo is not None:
        commands = queue.fetch_commands or []
        lines.append(f"    fifo: {queue.fifo.count} tag(s); {len(commands)} fetch command(s), "
                     f"{'one' if any(row.active for row in commands) else 'none'} active")
    groups: dict[tuple[typing.Any, ...], list[Io]] = {}
    for io in queue.ios:
        if io.place in (*TAKEN, Place.UNKNOWN, Place.NO_COMMAND) or io.references_out:
            state, operation = (io.request.state, io.request.op) if io.request else (None, None)
            groups.setdefault((io.place, tuple(io.flags), state, operation, io.ref, io.task_registered_buffers),
                              []).append(io)
    for (place, flags, state, operation, ref, registered), ios in groups.items():
        lines.append(f"    tag(s) {tag_list([io.tag for io in ios])}: {_PLACES[place]}; io {'|'.join(flags) or '0'}"
                     f"{references(ref, registered, ios[0])}; request {state} {operation}, "
                     f"oldest {seconds(age(ios))}")
    return lines


def references(ref: int | None, registered: int | None, io: Io) -> str:
    if not ref and not registered:
        return ""
    return f" ref {ref:#x}+{registered} ({io.references_out} out)"


def opener_lines(dump: Dump, device: Device) -> list[str]:
    names = {task.address: f"{short(task)}" for task in dump.tasks}
    rings = {ring.address: [f"{short(row)}" for row in ring.fds] for ring in dump.rings}
    openers, lines = device.opened, []
    for opened, path in ((openers.char, f"/dev/ublkc{device.id}"), (openers.block, f"/dev/ublkb{device.id}")):
        rows = [f"registered file {row.slot} of the ring of "
                + (', '.join([names.get(user, '?') for user in row.users] or rings.get(row.ring, [])) or 'nobody')
                if isinstance(row, RegisteredFile) else
                f"{short(row)} {row.how}" + (f" {row.fd}" if row.fd is not None else "") for row in opened]
        if rows:
            more = f"; {len(rows) - 8} more" if len(rows) > 8 else ""
            lines.append(f"  {path} is open: {'; '.join(rows[:8])}{more}")
    lines += [f"  mounted: {row.type} on {row.id}" for row in openers.mounts]
    if openers.kernel:
        lines.append(f"  /dev/ublkb{device.id} is used by the kernel: {'; '.join(row.name for row in openers.kernel)}")
    return lines


def command_lines(dump: Dump) -> list[str]:
    names = {task.address: f"{short(task)}" for task in dump.tasks}
    lines = [f"  {row.command} of device {row.device}, from {names.get(row.issuer, '?')}"
             + (", queued" if row.queued else f", worker {names.get(row.worker or 0, '?')}")
             for row in dump.control_commands]
    lines += [f"  {row.work} in {names.get(row.task, '?')}, state {row.state}" for row in dump.works]
    return ["", "control commands and works:", *lines] if lines else []


def task_lines(dump: Dump) -> list[str]:
    """Stacks together, the same ones once; idle threads of servers in one line."""
    groups: dict[tuple[typing.Any, ...], list[Task]] = {}
    for task in dump.tasks:
        roles = [role for role in task.roles if role != "uses a ublk ring"] or task.roles
        groups.setdefault((tuple(roles), task.state, tuple(bare(frame) for frame in task.stack), without_stack(task),
                           bool(task.standing.frozen)), []).append(task)
    lines = ["", "tasks:"] if groups else []
    for (roles, state, stack, reason, _frozen), tasks in groups.items():
        pids = ", ".join(f"{short(task)}" for task in tasks[:6])
        more = f" and {len(tasks) - 6} more" if len(tasks) > 6 else ""
        frozen = " [frozen by its cgroup]" if state == "S" and tasks[0].standing.frozen else ""
        lines.append(f"  {state} {pids}{more}: {', '.join(roles)}{frozen}")
        waits = tasks[0].waits_in
        if state == "S" and waits in IDLE_WAITS:
            lines.append(f"      sleeps in {waits}")
        elif stack:
            lines.append("      " + " < ".join(stack))
        else:
            lines.append(f"      {reason}")
    return lines


def without_stack(task: Task) -> str:
    """Why a task has no stack to show."""
    if task.stack:
        return ""
    if task.state in "ZX":
        return "dead"
    if task.on_cpu:
        return "runs" if task.standing.cpu is None else f"runs on CPU {task.standing.cpu}"
    return "ready to run" if task.state == "R" else "no stack: it ran while it was looked at"


def graph_lines(dump: Dump) -> list[str]:
    counted: dict[tuple[str, str, str], int] = {}
    for edge in dump.wait_graph:
        start, end = (node.rpartition("/")[0] if node.startswith("tag:") else node for node in (edge.from_, edge.to))
        counted[start, edge.why, end] = counted.get((start, edge.why, end), 0) + 1
    names = {f"task:{task.pid}": f"{short(task)}" for task in dump.tasks}

    def name(node: str) -> str:
        return names.get(node, node.replace("tag:", "tags of device/queue ").replace(":", " "))

    lines = [f"  {name(start)} --{why}--> {name(end)}" + (f" ({count})" if count > 1 else "")
             for (start, why, end), count in counted.items()]
    return ["", "who waits for whom:", *lines] if lines else []
