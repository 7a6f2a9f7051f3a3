# SPDX-License-Identifier: MIT
"""Rules over control commands: what START, STOP and DEL wait for."""

from __future__ import annotations

import typing

from . import catalogue as cat
from .document import Json
from .facts import Facts, Finding
from .rules_io import holders

_READY_WAITS = ("ublk_wait_dev_ready_and_lock", "ublk_ctrl_start_dev", "ublk_ctrl_end_recovery")


def findings(facts: Facts) -> typing.Iterator[Finding]:
    """What the io rules found decides whether a waiting STOP is a consequence of something or merely at work."""
    for command in facts.commands:
        if command.get("confirmed") is False:
            continue
        finding = judge(facts, command)
        if finding:
            finding.device = command["device"] if any(
                device["id"] == command["device"] for device in facts.devices) else None
            yield finding
    yield from deleted_without_command(facts)
    yield from orphan(facts)


def judge(facts: Facts, command: Json) -> Finding | None:
    task = facts.task(command["worker"])
    name = f"{command['command']} of device {command['device']} from {facts.name(command['issuer'])}"
    if command["queued"]:
        return queued(facts.task(command["issuer"]), name)
    if task is None or task["state"] == "R":
        return None
    if task["blocked_on"]:
        owner = task["blocked_on"]["owner"]
        return Finding("CONTROL_WAITS_MUTEX", cat.CONSEQUENCE, since_ns=task["off_cpu_ns"], evidence=[
            f"{name} waits in {task['waits_in']} for a mutex that {facts.name(owner)} holds"]) \
            if (task["off_cpu_ns"] or 0) >= facts.limits.stuck_ns else None
    device = next((row for row in facts.devices if row["id"] == command["device"]), None)
    if facts.stack_starts(task, *_READY_WAITS) and task["state"] == "S":
        return start(facts, command, task, device, name)
    if facts.stack_has(task, "blk_mq_freeze_queue_wait") or facts.stack_starts(task, "ublk_stop_dev", "del_gendisk",
                                                                               "__del_gendisk"):
        return stop(facts, task, device, name)
    if facts.stack_starts(task, "ublk_ctrl_del_dev") or task["waits_in"] == "ublk_ctrl_uring_cmd":
        return delete(facts, task, device, name)
    return None


def queued(issuer: Json | None, name: str) -> Finding:
    """Workers are threads of the process that issued the command: they stop with it, which is no defect."""
    if issuer and issuer["state"] in ("T", "t"):
        return Finding("COMMAND_NOT_STARTED", cat.INFO, evidence=[
            f"{name} is queued; its process is stopped, and so are the process's workers"],
            ruled_out=["workers that run and do not take it"])
    return Finding("COMMAND_NOT_STARTED", cat.HANG, evidence=[f"{name} is queued, no worker has it"])


def start(facts: Facts, command: Json, task: Json, device: Json | None, name: str) -> Finding | None:
    if (task["off_cpu_ns"] or 0) < facts.limits.stuck_ns:
        return None
    evidence = [f"{name} waits"]
    if device:
        evidence += [f"queue {queue['id']}: {queue['nr_io_ready']} of {queue['depth']} tags fetched"
                     for queue in device["queues"] if queue["nr_io_ready"] != queue["depth"]]
    return Finding("START_WAITS_FETCH", cat.HANG, since_ns=task["off_cpu_ns"], evidence=evidence,
                   ruled_out=["a mutex held by somebody else"])


def stop(facts: Facts, task: Json, device: Json | None, name: str) -> Finding:
    evidence = [f"{name} waits in {task['waits_in']}"]
    if device:
        queue = (device["disk"] or {}).get("queue") or {}
        evidence.append(f"freeze depth {queue.get('freeze_depth')}, quiesce depth {queue.get('quiesce_depth')}, "
                        f"{busy(device)} request(s) taken")
    return Finding("STOP_WAITS_IO", cat.CONSEQUENCE, evidence=evidence, since_ns=None)


def busy(device: Json) -> int:
    return sum(queue["tags_busy"] or 0 for queue in device["queues"])


def delete(facts: Facts, task: Json, device: Json | None, name: str) -> Finding | None:
    if (task["off_cpu_ns"] or 0) < facts.limits.stuck_ns:
        return None
    return Finding("DELETE_WAITS_CLOSE", cat.HANG, since_ns=task["off_cpu_ns"],
                   evidence=[f"{name} waits for the last reference", *users(facts, device)],
                   ruled_out=["I/O in flight: the disk is gone"])


def users(facts: Facts, device: Json | None) -> list[str]:
    """Who keeps a deleted device: the char side is known by the device, the block side by its name no longer."""
    if device is None:
        return []
    openers = device["openers"] or {}
    result = [f"char device is open: {text}" for text in holders(facts, device)]
    result += [f"block device is open: {row['comm']} (pid {row['pid']}) fd {row['fd']}" for row in openers["block"]]
    result += [f"mounted: {row['type']} on {row['id']}" for row in openers["mounts"]]
    return result or ["nobody was found who has it open"]


def deleted_without_command(facts: Facts) -> typing.Iterator[Finding]:
    """DELETED and still there: DEL_DEV was asynchronous, or interrupted."""
    waiting = {command["device"] for command in facts.commands}
    for device in facts.devices:
        if "DELETED" in device["state_bits"] and device["id"] not in waiting:
            yield Finding("DELETE_WAITS_CLOSE", cat.INFO, device["id"], evidence=[
                f"deleted, {device['references']} reference(s) left", *users(facts, device)])


def orphan(facts: Facts) -> typing.Iterator[Finding]:
    mutex = facts.document["control_mutex"] or {}
    if mutex.get("owner") and not facts.alive(facts.task(mutex["owner"])):
        yield Finding("CONTROL_MUTEX_ORPHAN", cat.HANG, evidence=[
            f"ublk_ctl_mutex is held by {facts.name(mutex['owner'])}, which does not run any more"])
