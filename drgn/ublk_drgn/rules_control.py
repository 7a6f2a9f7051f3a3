# SPDX-License-Identifier: MIT
"""Rules over control commands: what START, STOP and DEL wait for."""

from __future__ import annotations

import typing

from .catalogue import Entry
from .facts import Facts
from .model import Finding, Severity
from .model_device import Device, Opener
from .model_task import Command, Task
from .rules_gone import holders
from .rules_standstill import halt, halted

_READY_WAITS = ("ublk_wait_dev_ready_and_lock", "ublk_ctrl_start_dev", "ublk_ctrl_end_recovery")


def findings(facts: Facts) -> typing.Iterator[Finding]:
    """What the io rules found decides whether a waiting STOP is a consequence of something or merely at work."""
    for command in facts.commands:
        device = next((row for row in facts.devices if row.id == command.device), None)
        finding = judge(facts, command, device) if command.confirmed is not False else None
        if finding:
            finding.device = device.id if device else None
            yield finding
    yield from deleted_without_command(facts)
    yield from orphan(facts)


def judge(facts: Facts, command: Command, device: Device | None) -> Finding | None:
    task = facts.task(command.worker)
    name = f"{command.command} of device {command.device} from {facts.name(command.issuer)}"
    if command.queued:
        return queued(facts, command, name)
    if task is None or task.state == "R":
        return None
    waits = (task.off_cpu_ns or 0) >= facts.limits.stuck_ns
    if task.blocked_on:
        owner = task.blocked_on.owner
        return Entry.CONTROL_WAITS_MUTEX.found(
            [f"{name} waits in {task.waits_in} for a mutex that {facts.name(owner)} holds"],
            since_ns=task.off_cpu_ns, waits_behind=(owner,) if owner else ()) if waits else None
    if facts.stack_starts(task, *_READY_WAITS) and task.state == "S":
        return start(facts, task, device, name) if waits else None
    if facts.stack_has(task, "blk_mq_freeze_queue_wait") or facts.stack_starts(task, "ublk_stop_dev", "del_gendisk",
                                                                               "__del_gendisk"):
        return stop(task, device, name)
    if facts.stack_starts(task, "ublk_ctrl_del_dev") or task.waits_in == "ublk_ctrl_uring_cmd":
        return delete(facts, task, device, name) if waits else None
    return None


def queued(facts: Facts, command: Command, name: str) -> Finding | None:
    """Workers are threads of the process that issued the command: they stop with it, and there are only so many."""
    issuer = facts.task(command.issuer)
    if issuer and halted(issuer):
        return Entry.COMMAND_NOT_STARTED.found(
            [f"{name} is queued; its process is stopped or frozen, and so are the process's workers"], Severity.INFO,
            ruled_out=["workers that run and do not take it"])
    busy_workers = [row for row in facts.commands if row.issuer == command.issuer and not row.queued]
    pool = command.workers
    there = f"{pool.count} of at most {pool.most} workers are there" if pool else ""
    if busy_workers and (pool is None or (pool.count or 0) >= (pool.most or 0)):
        tasks = tuple(row.worker for row in busy_workers if row.worker)
        return Entry.COMMAND_NOT_STARTED.found(
            [f"{name} is queued behind {', '.join(sorted(map(facts.name, tasks)))}" + (f": {there}" if there else "")],
            Severity.CONSEQUENCE, waits_behind=tasks, next_step="look at the other command",
            text="a control command waits for a worker of its process that is busy with another one")
    if issuer and issuer.off_cpu_ns is not None and issuer.off_cpu_ns < facts.limits.stuck_ns:
        return None  # handed over just now
    return Entry.COMMAND_NOT_STARTED.found([f"{name} is queued, no worker has it", *([there] if there else ())])


def start(facts: Facts, task: Task, device: Device | None, name: str) -> Finding:
    evidence = [f"{name} waits"]
    if device:
        evidence += [f"queue {queue.id}: {queue.nr_io_ready} of {queue.depth} tags fetched"
                     for queue in device.queues if queue.nr_io_ready != queue.depth]
        servers = facts.server_tasks(device)
        if servers and all(map(halted, servers)):
            found = halt(facts, servers[:4], "server")
            found.evidence = evidence + found.evidence
            return found
    if device and device.fetching:
        return Entry.START_WAITS_FETCH.found([*evidence, "it fetches on"], Severity.SLOW, since_ns=task.off_cpu_ns)
    return Entry.START_WAITS_FETCH.found(evidence, since_ns=task.off_cpu_ns,
                                         ruled_out=["a mutex held by somebody else"])


def stop(task: Task, device: Device | None, name: str) -> Finding:
    evidence = [f"{name} waits in {task.waits_in}"]
    if device:
        queue, busy = device.request_queue, sum(queue.tags_busy or 0 for queue in device.queues)
        evidence.append(f"freeze depth {queue.freeze_depth}, quiesce depth {queue.quiesce_depth}, "
                        f"{busy} request(s) taken")
    return Entry.STOP_WAITS_IO.found(evidence)


def delete(facts: Facts, task: Task, device: Device | None, name: str) -> Finding:
    return Entry.DELETE_WAITS_CLOSE.found(
        [f"{name} waits for the last reference", *(users(facts, device) if device else ())], since_ns=task.off_cpu_ns,
        ruled_out=["I/O in flight: the disk is gone"], next_step=advice(device) if device else "")


def users(facts: Facts, device: Device) -> list[str]:
    """Who keeps a deleted device: the char side is known by the device, the block side by its name no longer."""
    opened = device.opened
    result = [f"char device is open: {text}" for text in holders(facts, opened.char)]
    result += [f"block device is open: {row.comm} (pid {row.pid}) fd {row.fd}"
               for row in opened.block if isinstance(row, Opener) and row.how == "fd"]
    result += [f"block device is open: {text}" for text in holders(facts, opened.block) if " by fd " not in text]
    result += [f"mounted: {row.type} on {row.id}" for row in opened.mounts]
    result += [f"in use by the kernel: {row.name}" for row in opened.kernel or ()]
    return result or ["nobody was found who has it open: a descriptor on its way between processes, or a part of the "
                      "kernel that this program does not know"]


def advice(device: Device) -> str:
    """How to make those of the kernel let go; for processes the catalogue has it."""
    steps = dict.fromkeys(row.undo for row in device.opened.kernel or ())
    return "; ".join([*steps, "'del' may be interrupted, the device goes by itself"]) if steps else ""


def deleted_without_command(facts: Facts) -> typing.Iterator[Finding]:
    """DELETED and still there: DEL_DEV was asynchronous, or interrupted."""
    waiting = {command.device for command in facts.commands}
    for device in facts.devices:
        if "DELETED" in device.state_bits and device.id not in waiting:
            yield Entry.DELETE_WAITS_CLOSE.found([f"deleted, {device.references} reference(s) left",
                                                  *users(facts, device)], Severity.INFO, device=device.id)


def orphan(facts: Facts) -> typing.Iterator[Finding]:
    mutex = facts.control_mutex
    if mutex and mutex.owner and mutex.confirmed is not False and not facts.alive(facts.task(mutex.owner)):
        yield Entry.CONTROL_MUTEX_ORPHAN.found([
            f"ublk_ctl_mutex is held by {facts.name(mutex.owner)}, which does not run any more"])
