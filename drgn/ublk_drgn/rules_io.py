# SPDX-License-Identifier: MIT
"""Rules over io commands: who has a request, and why it does not go on."""

from __future__ import annotations

import typing

from . import catalogue as cat
from .document import Json, bare
from .facts import Facts, Finding, age, in_state


# I/O on an open block device, buffered too, where no request names its waiter.
_BLOCK_FILE_IO = ("blkdev_read_iter", "blkdev_write_iter", "blkdev_fsync")


def findings(facts: Facts) -> typing.Iterator[Finding]:
    for device in facts.devices:
        for queue in device["queues"]:
            yield from broken(device, queue)
            yield from grouped(facts, device, queue, "owned_by_server", owned)
            yield from grouped(facts, device, queue, "dispatched", dispatched)


def old_enough(facts: Facts, ios: list[Json]) -> list[Json]:
    """Requests without a time count as old: the second sample has seen them unchanged."""
    return [io for io in ios if io["request"] is None or io["request"]["age_ns"] is None
            or io["request"]["age_ns"] >= facts.limits.stuck_ns]


Judge = typing.Callable[[Facts, Json, Json, list[Json]], Finding]


def grouped(facts: Facts, device: Json, queue: Json, place: str, judge: Judge) -> typing.Iterator[Finding]:
    """Judges requests that are alike once, not one by one: a queue can have 4096 of them. Joins what has one cause."""
    alike: dict[tuple[typing.Any, ...], list[Json]] = {}
    fifo = set((queue["fifo"] or {}).get("tags") or ())
    for io in old_enough(facts, in_state(queue, place)):
        alike.setdefault(likeness(facts, io, fifo), []).append(io)
    groups: dict[tuple[str, str, tuple[str, ...]], tuple[Finding, list[Json]]] = {}
    for ios in alike.values():
        finding = judge(facts, device, queue, ios)
        key = finding.code, finding.severity, tuple(finding.evidence)
        groups.setdefault(key, (finding, []))[1].extend(ios)
    for finding, ios in groups.values():
        finding.device, finding.queue = device["id"], queue["id"]
        finding.tags = sorted(io["tag"] for io in ios)
        finding.since_ns = age(ios)
        finding.evidence.insert(0, summary(ios))
        yield finding


def likeness(facts: Facts, io: Json, fifo: set[int]) -> tuple[typing.Any, ...]:
    """All that the judges below look at in a single io command."""
    request = io["request"] or {}
    age_ns = request.get("age_ns")
    return (io["task"], io["ring"], tuple(io["flags"]), io["ref"], io["task_registered_buffers"], io["references_out"],
            age_ns is None or age_ns >= facts.limits.slow_ns, request.get("tag") == io["tag"], io["tag"] in fifo,
            facts.has_buffer(request.get("address")))


def summary(ios: list[Json]) -> str:
    io = ios[0]
    request = io["request"] or {}
    text = (f"io flags {'|'.join(io['flags']) or '0'}, request {request.get('state', '?')} {request.get('op', '?')} "
            f"sector {request.get('sector', '?')}")
    return text if len(ios) == 1 else f"{text}, and {len(ios) - 1} more like it"


def broken(device: Json, queue: Json) -> typing.Iterator[Finding]:
    """States that the driver never makes: both flags, an underflow, flags that no table has."""
    for io in queue["ios"]:
        if io.get("confirmed") is False:
            continue
        facts = []
        if {"ACTIVE", "OWNED_BY_SRV"} <= set(io["flags"]):
            facts.append("both ACTIVE and OWNED_BY_SRV are set")
        if io["place"] == "unknown":
            facts.append(f"flags {io['flags_raw']} are not in our table")
        if io["references_out"] is not None and io["references_out"] < 0 and device["state"] == "LIVE" \
                and io["place"] == "owned_by_server":
            facts.append(f"reference count is {-io['references_out']} below UBLK_REFCOUNT_INIT")
        if io["place"] == "owned_by_server" and io["request"] and io["request"]["state"] == "IN_FLIGHT" and io["req"] \
                and io["req"] != io["request"]["address"]:
            facts.append(f"io->req is {io['req']}, the tag's request is {io['request']['address']}")
        if facts:
            yield Finding("BROKEN_INVARIANT", cat.SLOW, device["id"], queue["id"], [io["tag"]], evidence=facts)


def holders(facts: Facts, device: Json) -> list[str]:
    """Living users of the char device, of any kind."""
    result = []
    for row in (device["openers"] or {}).get("char", ()):
        if row["how"] == "registered file":
            ring = facts.rings.get(row["ring"])
            result.append(f"registered file {row['slot']} of ring {row['ring']}"
                          + (f", {facts.ring_users(ring)}" if ring else ""))
        elif row["state"] not in "ZX":
            result.append(f"{row['comm']} (pid {row['pid']}) by {row['how']}"
                          + (f" {row['fd']}" if row["fd"] is not None else ""))
    return result


def server_gone(facts: Facts, device: Json, queue: Json, io: Json) -> bool:
    task = facts.task(io["task"]) or facts.task(queue["daemon"])
    if task:
        return not facts.alive(task)
    return not facts.server_tasks(device)


def gone(facts: Facts, device: Json) -> Finding:
    """The daemon is dead, but the driver was not told."""
    flushing = exit_flushes(facts, device)
    if flushing:
        return flushing
    held = holders(facts, device)
    loop = [row["ring"] for row in (device["openers"] or {}).get("char", ())
            if row["how"] == "registered file" and facts.dying_ring(row["ring"])]
    if loop and len(loop) == len(held):
        return Finding("ENDLESS_CANCEL", cat.HANG, evidence=[
            f"ring {ring}, which has the char device as a registered file, is being torn down" for ring in loop],
            ruled_out=["char device held by a living process"])
    if held:
        return Finding("CHARDEV_HELD", cat.HANG, evidence=["the daemon of the io command is dead",
                                                           *(f"char device is open: {text}" for text in held)])
    return Finding("UNKNOWN", cat.HANG, evidence=["the daemon is dead and nobody has the char device open",
                                                  f"exit_work pending: {device['exit_work_pending']}"])


def owned(facts: Facts, device: Json, queue: Json, ios: list[Json]) -> Finding:
    """OWNED_BY_SRV: the server has to commit."""
    if server_gone(facts, device, queue, ios[0]):
        return gone(facts, device)
    daemons = facts.daemons(device, queue, ios[:1])
    return (stopped(daemons) or self_wait(facts, device, daemons) or ring_trouble(facts, daemons)
            or target(facts, daemons, ios[0], device) or held(facts, daemons, ios))


def stopped(daemons: list[Json]) -> Finding | None:
    halted = [task for task in daemons if task["state"] in "TtF"]
    if not daemons or len(halted) < len(daemons):
        return None
    what = {"T": "stopped", "t": "traced", "F": "frozen"}
    return Finding("SERVER_STOPPED", cat.HANG, evidence=[
        f"daemon {task['comm']} (pid {task['pid']}) is {what[task['state']]}" for task in halted])


def exit_flushes(facts: Facts, device: Json) -> Finding | None:
    """The last task of a mount namespace unmounts what is in it, before its char device is closed: cleanup_mnt() is the
    later task work (fs/namespace.c, mntput_no_expire_slowpath), and so the first to run."""
    tgids = {device["ublksrv_tgid"], device["info"].get("ublksrv_pid")} - {0, -1, None}
    for task in facts.tasks.values():
        if task["tgid"] in tgids and facts.stack_has(task, "do_exit") and \
                facts.stack_starts(task, "cleanup_mnt", "blkdev_issue_flush"):
            stack = " < ".join(bare(frame) for frame in task["stack"] if not bare(frame).startswith("__sched"))
            return Finding("SERVER_EXIT_FLUSHES", cat.HANG, evidence=[
                f"pid {task['pid']} of the server ends, and waits in {task['waits_in']}: {stack}"],
                ruled_out=["char device held by another process"])
    return None


def own_block_fd(device: Json, task: Json) -> int | None:
    return next((row["fd"] for row in (device["openers"] or {}).get("block", ()) if row["pid"] == task["tgid"]), None)


def self_wait(facts: Facts, device: Json, daemons: list[Json]) -> Finding | None:
    """The server's own thread is a client of the device, or waits for memory that the device must clean."""
    own = {task["address"] for task in facts.server_tasks(device)} | {task["address"] for task in daemons}
    for task in (facts.tasks[address] for address in own):
        stack = " < ".join(frame.split("+")[0] for frame in task["stack"][:12])
        if task["state"] != "D":
            continue
        if facts.stack_starts(task, "shrink_", "try_to_free", "balance_dirty", "reclaim_"):
            return Finding("MEMORY_RECLAIM_LOOP", cat.HANG, evidence=[
                f"pid {task['pid']}: {stack}", f"PR_SET_IO_FLUSHER is {'set' if task['io_flusher'] else 'not set'}"])
        if task["address"] in facts.clients(device):
            return Finding("SERVER_WAITS_FOR_ITSELF", cat.HANG, evidence=[
                f"pid {task['pid']} of the server waits for a request of this device: {stack}"])
        if facts.stack_has(task, *_BLOCK_FILE_IO) and (fd := own_block_fd(device, task)) is not None:
            return Finding("SERVER_WAITS_FOR_ITSELF", cat.HANG, evidence=[
                f"pid {task['pid']} of the server has the block device open by fd {fd} and waits in I/O on one: {stack}"])
        if facts.stack_has(task, "bdev_release", "bdev_open", "blkdev_put") and task["blocked_on"]:
            return Finding("OPEN_MUTEX_DEADLOCK", cat.HANG, evidence=[
                f"pid {task['pid']} of the server: {stack}",
                f"the mutex is held by {facts.name(task['blocked_on']['owner'])}"])
    return None


def ring_trouble(facts: Facts, daemons: list[Json]) -> Finding | None:
    """Completions or submissions that the server leaves lying."""
    for task in daemons:
        for ring in facts.rings_of(task):
            queues = ring["queues"] or {}
            if ring["overflow_list"] or "CQ_OVERFLOW" in queues.get("sq_flags", ()):
                return Finding("CQ_OVERFLOW", cat.HANG, evidence=[
                    f"ring {ring['address']} of pid {task['pid']}: {ring['overflow_list']} completion(s) overflowed"])
            unreaped = (queues.get("cq") or {}).get("unreaped") or 0
            waiting = ring["cq_waiting_for"]
            if unreaped and (waiting is None or waiting <= 0 or unreaped >= waiting):
                return Finding("SERVER_NOT_REAPING", cat.HANG, evidence=[
                    f"{unreaped} completion(s) wait in ring {ring['address']}",
                    f"its user {task['comm']} (pid {task['pid']}) is in state {task['state']}"
                    + (f" in {task['waits_in']}" if task["waits_in"] else "")])
            unsubmitted = (queues.get("sq") or {}).get("unsubmitted") or 0
            if unsubmitted and facts.idle(task) and "SQPOLL" not in ring["setup"]:
                return Finding("COMMIT_NOT_SUBMITTED", cat.HANG, evidence=[
                    f"{unsubmitted} SQE(s) in ring {ring['address']} of pid {task['pid']} are not submitted, and it "
                    f"sleeps in {task['waits_in']}"])
    return None


def target(facts: Facts, daemons: list[Json], io: Json, device: Json) -> Finding | None:
    """I/O of the server's own in flight, or a thread of it at work: slow at first, stuck when it is too long."""
    evidence, addresses = [], {task["address"] for task in daemons}
    old = sum(1 for queue in device["queues"] for entry in old_enough(facts, in_state(queue, "owned_by_server"))
              if entry["task"] in addresses or entry["task"] is None)
    counts = [(task, *facts.target_io(task)) for task in daemons]
    if sum(count for _task, count, _text in counts) >= old:  # with fewer, some request has no I/O behind it
        evidence += [f"{task['comm']} (pid {task['pid']}) has {text}" for task, count, text in counts if count]
    for task in facts.server_tasks(device):
        if task["state"] in "DR" and not (task["state"] == "R" and facts.progress(task)):
            evidence.append(f"{task['comm']} (pid {task['pid']}) is in state {task['state']}"
                            + (f" in {task['waits_in']}" if task["waits_in"] else ""))
    if not evidence:
        return None
    age_ns = (io["request"] or {}).get("age_ns")
    severity = cat.HANG if age_ns is None or age_ns >= facts.limits.slow_ns else cat.SLOW
    return Finding("TARGET_SLOW", severity, evidence=evidence)


def held(facts: Facts, daemons: list[Json], ios: list[Json]) -> Finding:
    io = ios[0]
    evidence = [f"daemon {task['comm']} (pid {task['pid']}) " + (
        "goes on with other requests" if facts.progress(task) else
        f"sleeps in {task['waits_in'] or task['state']} and has no I/O of its target in flight") for task in daemons]
    if "NEED_GET_DATA" in io["flags"]:
        evidence.append("the driver waits for NEED_GET_DATA to be answered")
    if (io["references_out"] or 0) > (1 if "AUTO_BUF_REG" in io["flags"] else 0):
        evidence.append(f"{io['references_out']} buffer reference(s): "
                        + ("; ".join(facts.buffers_of(ios)) or "in no ring that was found"))
    return Finding("SERVER_HOLDS_IO", cat.HANG, evidence=evidence, ruled_out=[
        "server stopped or dead", "completions not reaped, CQ overflow, SQEs not submitted",
        "I/O of the target in its ring"])


def dispatched(facts: Facts, device: Json, queue: Json, ios: list[Json]) -> Finding:
    """The request is started and not (or no longer) the server's."""
    io = ios[0]
    if (io["ref"] or 0) > 0 and not io["task_registered_buffers"] and "OWNED_BY_SRV" not in io["flags"]:
        return referenced(facts, ios)
    if queue["fifo"] is not None and io["tag"] in (queue["fifo"]["tags"] or ()):
        return in_fifo(facts, device, queue, io)
    if io["request"] and io["request"]["tag"] != io["tag"]:
        return Finding("ENDLESS_CANCEL", cat.HANG, evidence=["the tag's slot has the request of another tag"])
    if server_gone(facts, device, queue, io):
        return gone(facts, device)
    daemons = facts.daemons(device, queue, [io])
    found = stopped(daemons) or self_wait(facts, device, daemons)
    return found or task_work(facts, device, daemons)


def referenced(facts: Facts, ios: list[Json]) -> Finding:
    io, places = ios[0], facts.buffers_of(ios)
    evidence = [f"committed, and {io['ref']} reference(s) are left",
                *(f"its buffer is registered in {place}" for place in places)]
    if "ACTIVE" in io["flags"] and "CANCELED" not in io["flags"] and facts.dying_ring(io["ring"]):
        loops = [facts.name(work["task"]) + f" is in {work['work']}, state {work['state']}" for work in facts.works
                 if work["work"] == "io_ring_exit_work" and work["of"] == io["ring"]]
        return Finding("CANCEL_LIVELOCK", cat.DEFECT, evidence=[
            *evidence, f"the io command's ring {io['ring']} is being torn down and waits for that command", *loops],
            ruled_out=["a living holder of the buffer"])
    if not places:
        evidence.append("no ring that was found has it: an I/O on /dev/ublkc may be in progress")
    return Finding("BUFFER_REFERENCE", cat.HANG, evidence=evidence, ruled_out=["request not committed"])


def in_fifo(facts: Facts, device: Json, queue: Json, io: Json) -> Finding:
    commands = queue["fetch_commands"] or []
    if "OPEN" not in device["state_bits"] or device["state"] == "DEAD":
        return Finding("FIFO_STRANDED", cat.DEFECT, evidence=["no server has the device open"])
    halted = stopped(facts.daemons(device, queue, [io]))
    if halted:
        return halted
    if not commands:
        return Finding("NO_FETCH_COMMAND", cat.HANG, evidence=[
            f"{queue['fifo']['count']} tag(s) in the fifo, no fetch command pending"],
            ruled_out=["server stopped or dead"])
    if any(row["active"] for row in commands):
        return task_work(facts, device, facts.daemons(device, queue, [io]))
    return Finding("TASK_WORK_LOST", cat.DEFECT, evidence=[
        f"{queue['fifo']['count']} tag(s) in the fifo, {len(commands)} fetch command(s) pending, none active"])


def task_work(facts: Facts, device: Json, daemons: list[Json]) -> Finding:
    """The request waits for its daemon to run task work."""
    rings = [ring for task in daemons for ring in facts.rings_of(task)]
    pending = any(ring["task_work_pending"] for ring in rings) or any(
        row and (row["task_work_pending"] or row["fallback_work_pending"]) for ring in rings
        for row in ring["inflight"])
    if pending:
        return Finding("SERVER_NOT_REAPING", cat.HANG, evidence=["task work waits for the daemon", *(
            f"{task['comm']} (pid {task['pid']}) is in state {task['state']}"
            + (f" in {task['waits_in']}" if task["waits_in"] else "") for task in daemons)])
    if not rings:
        return Finding("UNKNOWN", cat.HANG, evidence=["no ring of the daemon was found"])
    return Finding("TASK_WORK_LOST", cat.DEFECT, evidence=[
        "no task work is pending in the daemon's rings", f"canceling is {device['booleans']['canceling']}"],
        ruled_out=["server stopped or dead", "buffer reference"])
