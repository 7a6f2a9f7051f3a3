# SPDX-License-Identifier: MIT
"""Rules over whole devices: recovery, quiesce, references after the server's end, frozen queues, partition scans."""

from __future__ import annotations

import typing

from . import constants as c
from .catalogue import Entry
from .facts import Facts, age, in_state
from .model import Finding, Severity
from .model_device import TAKEN, Device, Io, Place
from .model_task import Task
from .rules_gone import gone, spins
from .rules_io import old_enough, state_words


def findings(facts: Facts) -> typing.Iterator[Finding]:
    for device in facts.devices:
        for rule in (requeued, state, quiesce, release, cancel_loop, queue_blocked, partition_scan, starvation, chain):
            for finding in rule(facts, device):
                finding.device = device.id
                yield finding


def count(device: Device, place: Place) -> int:
    return sum(queue.summary[place] for queue in device.queues)


def tags(ios: list[Io]) -> list[int]:
    return [io.tag for io in ios]


def requeued(facts: Facts, device: Device) -> typing.Iterator[Finding]:
    """Requests that went back to the block layer because there is no server to take them."""
    waiting = old_enough(facts, in_state(device.ios, Place.REQUEUED))
    if waiting:
        found = waits_for_server(facts, device, len(waiting))
        if found:
            found.tags, found.since_ns = tags(waiting), age(waiting)
            yield found


def waits_for_server(facts: Facts, device: Device, waiting: int) -> Finding | None:
    canceling, queue, served = device.booleans.canceling, device.request_queue, bool(facts.server_tasks(device))
    evidence = [f"{waiting} request(s) on the requeue list, state {device.state}, canceling {canceling}"]
    force_abort = any(row.booleans.force_abort for row in device.queues)
    if device.state == "QUIESCED":
        entry = Entry.RECOVERY_UNFINISHED if "OPEN" in device.state_bits else Entry.WAITS_RECOVERY
        return entry.found(evidence, Severity.SLOW if device.fetching else None, ruled_out=["request at the server"])
    if device.state == "LIVE" and not served and device.ch_file:
        found = gone(facts, device)
        found.evidence = evidence + found.evidence
        return found
    if device.state == "LIVE" and canceling and served and not (force_abort and "BATCH_IO" not in device.flags):
        # quiesce() has it; with batch delivery QUIESCE_DEV sets force_abort, too (ublk_batch_cancel_queue())
        return None
    if queue.freeze_depth and (force_abort or canceling):
        return Entry.ABORT_ORDER.found([
            *evidence, f"the queue is frozen (depth {queue.freeze_depth}), force_abort {force_abort}"])
    if device.state == "LIVE" and canceling:
        return Entry.UNKNOWN.found([*evidence, "the server is gone and its char device is closed, exit_work pending "
                                               f"{device.exit_work_pending}"])
    return None if queue.requeue_work_pending else Entry.REQUEUE_NOT_KICKED.found(evidence)


def state(_facts: Facts, device: Device) -> typing.Iterator[Finding]:
    """A device without a server, when nothing waits for it."""
    if device.state == "DEAD" and "DELETED" not in device.state_bits:
        yield Entry.DEVICE_DEAD.found([
            f"state DEAD, {'a server has it open' if 'OPEN' in device.state_bits else 'no server'}"])
    if device.state == "FAIL_IO":
        yield Entry.FAIL_IO.found([f"state FAIL_IO, fail_io of its queues "
                                   f"{[row.booleans.fail_io for row in device.queues]}"])
    if device.state == "QUIESCED" and not in_state(device.ios, Place.REQUEUED):
        yield Entry.WAITS_RECOVERY.found(["state QUIESCED, no request waits yet"], Severity.INFO)


def quiesce(facts: Facts, device: Device) -> typing.Iterator[Finding]:
    """LIVE and canceling while the server lives: QUIESCE_DEV was called (or a cancel has begun)."""
    servers = facts.server_tasks(device)
    if device.state != "LIVE" or not device.booleans.canceling or not servers or any(
            row.command == "QUIESCE_DEV" and row.device == device.id for row in facts.commands):
        return
    canceled, held = count(device, Place.CANCELED), count(device, Place.OWNED_BY_SERVER)
    waiting, held_ns = in_state(device.ios, Place.REQUEUED), age(in_state(device.ios, Place.OWNED_BY_SERVER))
    evidence = [f"canceling is set, {canceled} io command(s) canceled, {held} owned by the server, "
                f"{count(device, Place.WAITING)} active, {len(waiting)} request(s) requeued"]
    told = all(row.booleans.force_abort for row in device.queues) if "BATCH_IO" in device.flags else canceled > 0
    if told:
        old = old_enough(facts, waiting)
        if held:
            yield Entry.QUIESCE_WAITS_IO.found(evidence, since_ns=held_ns)
        elif old:
            yield Entry.QUIESCE_IGNORED.found([*evidence, *map(state_words, servers[:4])], tags=tags(old),
                                              since_ns=age(old))
    elif held == sum(row.depth for row in device.queues):
        yield Entry.QUIESCE_HELD.found(evidence, since_ns=held_ns, ruled_out=[
            "a command that could be canceled: the server holds every tag"])
    else:
        yield Entry.QUIESCE_MISSED.found(evidence, tags=tags(waiting), since_ns=age(waiting), ruled_out=[
            "server dead", "a cancel that has reached any io command"])


def release(facts: Facts, device: Device) -> typing.Iterator[Finding]:
    """The char device is closed, and its release work polls for references that are not dropped."""
    if "OPEN" not in device.state_bits or device.ch_file:
        return
    left = [io for io in in_state(device.ios, Place.OWNED_BY_SERVER, Place.DISPATCHED, Place.WAITING, Place.CANCELED)
            if io.references_out and (io.ref or 0) + (io.task_registered_buffers or 0) not in (0, c.REFCOUNT_INIT)]
    if left:
        yield Entry.RELEASE_WAITS_REFERENCE.found(
            [f"the char device is closed and still OPEN, exit_work pending {device.exit_work_pending}",
             f"{len(left)} tag(s) with references out",
             *(f"buffer registered in {place}" for place in facts.buffers_of(left))],
            tags=tags(left), since_ns=age(left))


def cancel_loop(facts: Facts, device: Device) -> typing.Iterator[Finding]:
    """A ring of this device is torn down for a long time, and not because of a buffer."""
    rings = {io.ring for io in device.ios if io.ring} | {
        ring.address for ring in facts.rings.values() if device.ch_file
        and any(row.file == device.ch_file for row in ring.commands)}
    waits = old_enough(facts, in_state(device.ios, *TAKEN)) or any(row.device == device.id for row in facts.commands)
    for work in facts.works:
        if work.work != "io_ring_exit_work" or work.of not in rings or work.confirmed is False:
            continue
        stuck = [io for io in device.ios if io.ring == work.of]
        if any((io.ref or 0) > 0 for io in stuck):
            continue  # rules_io has it
        if not spins(work):
            continue  # it sleeps until the ring's requests end: rules_gone has it where somebody waits for that
        yield Entry.ENDLESS_CANCEL.found(
            [f"{facts.name(work.task)} is in {work.work} of ring {work.of:#x}, canceling {device.booleans.canceling}",
             *stale(stuck)], None if waits else Severity.SLOW, tags=tags(stuck), since_ns=age(stuck))


def stale(ios: list[Io]) -> list[str]:
    """ublk_cancel_cmd() takes the tag's slot for the tag's request; kernels that do not compare tags may err there."""
    others = [str(io.tag) for io in ios if io.request and io.request.tag != io.tag]
    return [f"the slots of tag(s) {', '.join(others[:8])} have the requests of other tags"] if others else []


def queue_blocked(facts: Facts, device: Device) -> typing.Iterator[Finding]:
    """Frozen or quiesced without a control command that does it. That is stuck only if something has waited for it for
    long: every limit of a queue is changed under a freeze, every cancel begins with a quiesce (ublk_start_cancel())."""
    queue = device.request_queue
    if any(row.device == device.id for row in facts.commands):
        return
    if queue.freeze_depth and "DYING" not in queue.flags:
        freezers = [task for task in queue_waiters(facts, device) if facts.stack_starts(task, "blk_mq_freeze_queue")]
        what = "a queue" if queue.freeze_waiters is None else "it"
        waiting = long_waits(facts, device, queue_waiters(facts, device))
        yield blocked(Entry.QUEUE_FROZEN, waiting, [
            f"freeze depth {queue.freeze_depth}", *(f"{task} is freezing {what}" for task in freezers)],
            Severity.CONSEQUENCE if freezers else None)
    if queue.quiesce_depth:
        quiescers = [task for task in facts.tasks.values() if facts.stack_starts(task, *_QUIESCING)]
        # Requests in an I/O scheduler have no tag of the driver's: who waits for one of them is all that is seen.
        clients = queue_waiters(facts, device) if queue.elevator in (None, "none") else blocked_tasks(facts)
        waiting = long_waits(facts, device, [*clients, *quiescers])
        yield blocked(Entry.QUEUE_QUIESCED, waiting, [
            f"quiesce depth {queue.quiesce_depth}", *(f"{task} is quiescing a queue" for task in quiescers)])


_QUIESCING = ("blk_mq_quiesce_queue", "blk_mq_wait_quiesce_done", "ublk_start_cancel")


def blocked(entry: Entry, waiting: list[str], evidence: list[str], severity: Severity | None = None) -> Finding:
    if waiting:
        return entry.found([*evidence, *waiting], severity)
    return entry.found([*evidence, "nothing is seen to have waited for it for long"], Severity.SLOW,
                       text=f"{entry.title} (nothing waits for it for long: it may be in progress)")


def queue_waiters(facts: Facts, device: Device) -> list[Task]:
    """Tasks that freeze the queue or wait until it is thawed; where the dump does not have the queue's own list, all
    that freeze or enter any."""
    waiters = device.request_queue.freeze_waiters
    if waiters is None:
        return [task for task in facts.tasks.values()
                if facts.stack_starts(task, "blk_mq_freeze_queue", "__bio_queue_enter", "blk_queue_enter")]
    return [task for address in waiters if (task := facts.task(address))]


def blocked_tasks(facts: Facts) -> list[Task]:
    return [task for task in facts.tasks.values() if task.state == "D" and "blocked" in task.roles]


def long_waits(facts: Facts, device: Device, tasks: list[Task]) -> list[str]:
    """What has waited for the device for long: its requests, and these tasks."""
    old = old_enough(facts, in_state(device.ios, *(place for place in Place if place != Place.WAITING)))
    return [*([f"{len(old)} request(s) wait"] if old else ()),
            *(f"{task} has waited for {(task.off_cpu_ns or 0) / 1e9:.1f} s" for task in tasks
              if (task.off_cpu_ns or 0) >= facts.limits.stuck_ns)]


def partition_scan(facts: Facts, device: Device) -> typing.Iterator[Finding]:
    for work in facts.works:
        task = facts.task(work.task)
        if work.work == "ublk_partition_scan_work" and work.of == device.address and task and task.state == "D" and (
                task.off_cpu_ns or 0) >= facts.limits.stuck_ns:
            owner = device.disk.open_mutex_owner if device.disk else None
            yield Entry.PARTITION_SCAN.found([f"{task} scans for partitions and sleeps in {task.waits_in}",
                                              f"open_mutex is held by {facts.name(owner)}"], since_ns=task.off_cpu_ns)


def starvation(_facts: Facts, device: Device) -> typing.Iterator[Finding]:
    for queue in device.queues:
        if queue.tag_waiters and queue.tags_busy == queue.depth:
            yield Entry.TAG_STARVATION.found([
                f"all {queue.depth} tags are taken, {queue.tag_waiters} wait queue(s) have tasks"], queue=queue.id)


def chain(facts: Facts, device: Device) -> typing.Iterator[Finding]:
    """A client that is itself a server: its device waits for this one."""
    clients = {io.client for io in old_enough(facts, in_state(device.ios, *TAKEN))}
    for other in facts.devices:
        both = clients & {task.address for task in facts.server_tasks(other)}
        if other is not device and both:
            yield Entry.CHAIN.found([f"{', '.join(sorted(map(facts.name, both)))} serves device {other.id}"],
                                    text=f"device {other.id} waits for this device")
