# SPDX-License-Identifier: MIT
"""Rules over whole devices: recovery, quiesce, references after the server's end, frozen queues, partition scans."""

from __future__ import annotations

import typing

from . import catalogue as cat
from .document import Json
from .facts import Facts, Finding, age, in_state
from .rules_io import gone, old_enough


def findings(facts: Facts) -> typing.Iterator[Finding]:
    for device in facts.devices:
        for rule in (requeued, state, quiesce, release, cancel_loop, queue_blocked, partition_scan, starvation, chain):
            for finding in rule(facts, device):
                finding.device = device["id"]
                yield finding


def count(device: Json, place: str) -> int:
    return sum(queue["summary"][place] for queue in device["queues"])


def ios(device: Json, *places: str) -> list[Json]:
    return [io for queue in device["queues"] for io in in_state(queue, *places)]


def server_alive(facts: Facts, device: Json) -> bool:
    return bool(facts.server_tasks(device))


def requeued(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    """Requests that went back to the block layer because there is no server to take them."""
    waiting = old_enough(facts, ios(device, "requeued"))
    if not waiting:
        return
    tags = [io["tag"] for io in waiting]
    evidence = [f"{len(waiting)} request(s) on the requeue list, state {device['state']}, "
                f"canceling {device['booleans']['canceling']}"]
    queue = (device["disk"] or {}).get("queue") or {}
    force_abort = any(row["booleans"]["force_abort"] for row in device["queues"])
    if device["state"] == "QUIESCED":
        code = "RECOVERY_UNFINISHED" if "OPEN" in device["state_bits"] else "WAITS_RECOVERY"
        yield Finding(code, cat.HANG, tags=tags, since_ns=age(waiting), evidence=evidence,
                      ruled_out=["request at the server"])
    elif device["state"] == "LIVE" and not server_alive(facts, device) and device["ch_file"]:
        found = gone(facts, device)
        found.tags, found.since_ns, found.evidence = tags, age(waiting), evidence + found.evidence
        yield found
    elif queue.get("freeze_depth") and (force_abort or device["booleans"]["canceling"]):
        yield Finding("ABORT_ORDER", cat.DEFECT, tags=tags, since_ns=age(waiting), evidence=[
            *evidence, f"the queue is frozen (depth {queue['freeze_depth']}), force_abort {force_abort}"])
    elif device["state"] == "LIVE" and device["booleans"]["canceling"]:
        return  # quiesce() has it
    elif not queue.get("requeue_work_pending"):
        yield Finding("REQUEUE_NOT_KICKED", cat.HANG, tags=tags, since_ns=age(waiting), evidence=evidence)


def state(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    """A device without a server, when nothing waits for it."""
    if device["state"] == "DEAD" and "DELETED" not in device["state_bits"]:
        yield Finding("DEVICE_DEAD", cat.INFO, evidence=["state DEAD, " + ("a server has it open" if "OPEN" in
                                                         device["state_bits"] else "no server")])
    if device["state"] == "FAIL_IO":
        yield Finding("FAIL_IO", cat.INFO, evidence=["state FAIL_IO, fail_io of its queues "
                                                     f"{[row['booleans']['fail_io'] for row in device['queues']]}"])
    if device["state"] == "QUIESCED" and not ios(device, "requeued"):
        yield Finding("WAITS_RECOVERY", cat.INFO, evidence=["state QUIESCED, no request waits yet"])


def quiesce(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    """LIVE and canceling while the server lives: QUIESCE_DEV was called (or a cancel has begun)."""
    if device["state"] != "LIVE" or not device["booleans"]["canceling"] or not server_alive(facts, device):
        return
    if "BATCH_IO" in device["flags"]:
        told = all(row["booleans"]["force_abort"] for row in device["queues"])
    else:
        told = count(device, "canceled") > 0
    held, waiting = count(device, "owned_by_server"), ios(device, "requeued")
    evidence = [f"canceling is set, {count(device, 'canceled')} io command(s) canceled, {held} owned by the server, "
                f"{count(device, 'waiting')} active, {len(waiting)} request(s) requeued"]
    if any(row["command"] == "QUIESCE_DEV" and row["device"] == device["id"] for row in facts.commands):
        return
    if told:
        if held:
            yield Finding("QUIESCE_WAITS_IO", cat.SLOW, since_ns=age(ios(device, "owned_by_server")), evidence=evidence)
    elif held == sum(row["depth"] for row in device["queues"]):
        yield Finding("QUIESCE_HELD", cat.DEFECT, since_ns=age(ios(device, "owned_by_server")), evidence=evidence,
                      ruled_out=["a command that could be canceled: the server holds every tag"])
    else:
        yield Finding("QUIESCE_MISSED", cat.DEFECT, tags=[io["tag"] for io in waiting], since_ns=age(waiting),
                      evidence=evidence, ruled_out=["server dead", "a cancel that has reached any io command"])


def release(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    """The char device is closed, and its release work polls for references that are not dropped."""
    if "OPEN" not in device["state_bits"] or device["ch_file"]:
        return
    left = [io for io in ios(device, "owned_by_server", "dispatched", "waiting", "canceled")
            if io["references_out"] not in (0, None) and
            (io["ref"] or 0) + (io["task_registered_buffers"] or 0) not in (0, 0x3FFFFFFF)]
    if left:
        places = facts.buffers_of(left)
        yield Finding("RELEASE_WAITS_REFERENCE", cat.HANG, tags=[io["tag"] for io in left], since_ns=age(left),
                      evidence=[f"the char device is closed and still OPEN, exit_work pending "
                                f"{device['exit_work_pending']}", f"{len(left)} tag(s) with references out",
                                *(f"buffer registered in {place}" for place in places)])


def cancel_loop(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    """A ring of this device is torn down for a long time, and not because of a buffer."""
    rings = {io["ring"] for queue in device["queues"] for io in queue["ios"] if io["ring"]} | {
        ring["address"] for ring in facts.rings.values() if device["ch_file"]
        and any(row["file"] == device["ch_file"] for row in ring["commands"])}
    for work in facts.works:
        if work["work"] != "io_ring_exit_work" or work["of"] not in rings or work.get("confirmed") is False:
            continue
        stuck = [io for queue in device["queues"] for io in queue["ios"] if io["ring"] == work["of"]]
        if any((io["ref"] or 0) > 0 for io in stuck):
            continue  # rules_io has it
        yield Finding("ENDLESS_CANCEL", cat.HANG, tags=[io["tag"] for io in stuck], since_ns=age(stuck), evidence=[
            f"{facts.name(work['task'])} is in {work['work']} of ring {work['of']}, canceling "
            f"{device['booleans']['canceling']}"])


def queue_blocked(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    """Frozen or quiesced without a control command that does it."""
    queue = (device["disk"] or {}).get("queue") or {}
    if any(row["device"] == device["id"] for row in facts.commands):
        return
    if queue.get("freeze_depth") and "DYING" not in queue.get("flags", ()):
        freezers = [task for task in facts.tasks.values() if facts.stack_starts(task, "blk_mq_freeze_queue")]
        yield Finding("QUEUE_FROZEN", cat.CONSEQUENCE if freezers else cat.HANG, evidence=[
            f"freeze depth {queue['freeze_depth']}", *(f"{facts.name(task['address'])} is freezing a queue"
                                                       for task in freezers)])
    if queue.get("quiesce_depth"):
        yield Finding("QUEUE_QUIESCED", cat.HANG, evidence=[f"quiesce depth {queue['quiesce_depth']}"])


def partition_scan(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    for work in facts.works:
        if work["work"] == "ublk_partition_scan_work" and work["of"] == device["address"]:
            task = facts.task(work["task"])
            if task and task["state"] == "D" and (task["off_cpu_ns"] or 0) >= facts.limits.stuck_ns:
                yield Finding("PARTITION_SCAN", cat.CONSEQUENCE, since_ns=task["off_cpu_ns"], evidence=[
                    f"{facts.name(work['task'])} scans for partitions and sleeps in {task['waits_in']}",
                    f"open_mutex is held by {facts.name((device['disk'] or {}).get('open_mutex_owner'))}"])


def starvation(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    for queue in device["queues"]:
        if queue["tag_waiters"] and queue["tags_busy"] == queue["depth"]:
            yield Finding("TAG_STARVATION", cat.INFO, queue=queue["id"], evidence=[
                f"all {queue['depth']} tags are taken, {queue['tag_waiters']} wait queue(s) have tasks"])


def chain(facts: Facts, device: Json) -> typing.Iterator[Finding]:
    """A client that is itself a server: its device waits for this one."""
    clients = {io["request"]["client"]["task"] for io in old_enough(facts, ios(
        device, "owned_by_server", "dispatched", "requeued")) if (io["request"] or {}).get("client")} - {None}
    for other in facts.devices:
        servers = {task["address"] for task in facts.server_tasks(other)}
        if other is not device and clients & servers:
            yield Finding("CHAIN", cat.CONSEQUENCE, evidence=[
                f"{', '.join(sorted(facts.name(task) for task in clients & servers))} serves device {other['id']}"],
                text=f"device {other['id']} waits for this device")
