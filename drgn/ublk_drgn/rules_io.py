# SPDX-License-Identifier: MIT
"""Rules over io commands: who has a request, and why it does not go on."""

from __future__ import annotations

import dataclasses
import typing

from .catalogue import Entry
from .facts import Facts, age, in_state
from .model import Finding, Severity
from .model_device import Device, Io, Opener, Place, Queue
from .model_task import Ring, Task
from .rules_gone import gone
from .rules_standstill import halt, halted, stopped, without_cpu

# I/O on an open block device, buffered too, where no request names its waiter.
_BLOCK_FILE_IO = ("blkdev_read_iter", "blkdev_write_iter", "blkdev_fsync")


@dataclasses.dataclass(frozen=True)
class Situation:
    """All that a rule sees of an io command. Those in equal situations are judged once: a queue can have 4096 of them.
    `slow`: it took longer than any target may; `ios`: the commands that are in it."""

    facts: Facts = dataclasses.field(compare=False)
    device: Device = dataclasses.field(compare=False)
    queue: Queue = dataclasses.field(compare=False)
    task: int | None
    ring: int | None
    flags: tuple[str, ...]
    ref: int | None
    task_registered_buffers: int | None
    references_out: int | None
    slow: bool
    in_fifo: bool
    has_buffer: bool
    ios: list[Io] = dataclasses.field(default_factory=list, compare=False)

    @property
    def severity(self) -> Severity:
        """Of what may get on by itself."""
        return Severity.HANG if self.slow else Severity.SLOW

    def daemons(self) -> list[Task]:
        return self.facts.daemons(self.device, self.queue, self.task)

    def server_gone(self) -> bool:
        task = self.facts.task(self.task) or self.facts.task(self.queue.daemon)
        return not self.facts.alive(task) if task else not self.facts.server_tasks(self.device)


Judge = typing.Callable[[Situation], Finding]


def findings(facts: Facts) -> typing.Iterator[Finding]:
    for device in facts.devices:
        for queue in device.queues:
            yield from broken(device, queue)
            yield from grouped(facts, device, queue, Place.OWNED_BY_SERVER, owned)
            yield from grouped(facts, device, queue, Place.DISPATCHED, dispatched)


def old_enough(facts: Facts, ios: list[Io]) -> list[Io]:
    """Requests without a time count as old: the second sample has seen them unchanged."""
    return [io for io in ios if io.age_ns is None or io.age_ns >= facts.limits.stuck_ns]


def situations(facts: Facts, device: Device, queue: Queue, place: Place) -> typing.Iterable[Situation]:
    found: dict[Situation, Situation] = {}
    fifo = set(queue.fifo.tags or () if queue.fifo else ())
    for io in old_enough(facts, in_state(queue.ios, place)):
        one = Situation(facts, device, queue, io.task, io.ring, tuple(io.flags), io.ref, io.task_registered_buffers,
                        io.references_out, io.age_ns is None or io.age_ns >= facts.limits.slow_ns, io.tag in fifo,
                        bool(facts.buffers(io.request)))
        found.setdefault(one, one).ios.append(io)
    return found.values()


def grouped(facts: Facts, device: Device, queue: Queue, place: Place, judge: Judge) -> typing.Iterator[Finding]:
    """Joins what has one cause."""
    groups: dict[tuple[str, Severity, tuple[str, ...]], tuple[Finding, list[Io]]] = {}
    for situation in situations(facts, device, queue, place):
        finding = judge(situation)
        key = finding.code, finding.severity, tuple(finding.evidence)
        groups.setdefault(key, (finding, []))[1].extend(situation.ios)
    for finding, ios in groups.values():
        finding.device, finding.queue = device.id, queue.id
        finding.tags, finding.since_ns = sorted(io.tag for io in ios), age(ios)
        finding.evidence.insert(0, summary(ios))
        yield finding


def summary(ios: list[Io]) -> str:
    request = ios[0].request
    state, op, sector = (request.state, request.op, request.sector) if request else ("?", "?", "?")
    text = f"io flags {'|'.join(ios[0].flags) or '0'}, request {state} {op} sector {sector}"
    return text if len(ios) == 1 else f"{text}, and {len(ios) - 1} more like it"


def broken(device: Device, queue: Queue) -> typing.Iterator[Finding]:
    """States that the driver never makes: both flags, an underflow, flags that no table has."""
    for io in queue.ios:
        if io.confirmed is False:
            continue
        evidence, owned_by_server = [], io.place == Place.OWNED_BY_SERVER
        if {"ACTIVE", "OWNED_BY_SRV"} <= set(io.flags):
            evidence.append("both ACTIVE and OWNED_BY_SRV are set")
        if io.place == Place.UNKNOWN:
            evidence.append(f"flags {io.flags_raw:#x} are not in our table")
        if io.references_out is not None and io.references_out < 0 and device.state == "LIVE" and owned_by_server:
            evidence.append(f"reference count is {-io.references_out} below UBLK_REFCOUNT_INIT")
        if owned_by_server and io.request and io.request.state == "IN_FLIGHT" and io.req \
                and io.req != io.request.address:
            evidence.append(f"io->req is {io.req:#x}, the tag's request is {io.request.address:#x}")
        if evidence:
            yield Entry.BROKEN_INVARIANT.found(evidence, device=device.id, queue=queue.id, tags=[io.tag])


def owned(situation: Situation) -> Finding:
    """OWNED_BY_SRV: the server has to commit."""
    facts, device = situation.facts, situation.device
    if situation.server_gone():
        return gone(facts, device)
    daemons = situation.daemons()
    return (stopped(facts, daemons) or self_wait(facts, device, daemons)
            or without_cpu(facts, daemons, situation.severity) or ring_trouble(facts, daemons)
            or target(situation, daemons) or held(situation, daemons))


def own_block_fd(device: Device, task: Task) -> int | None:
    """A descriptor of the block device in the task's process, unless it could as well be at another block device."""
    return next((row.fd for row in device.opened.block if isinstance(row, Opener) and row.pid == task.tgid
                 and not row.other_block_files), None)


def self_wait(facts: Facts, device: Device, daemons: list[Task]) -> Finding | None:
    """The server's own thread is a client of the device, or waits for memory that the device must clean."""
    own = {task.address: task for task in [*facts.server_tasks(device), *daemons] if task.state == "D"}
    for rule in (reclaim, own_client, own_file, own_open_mutex):  # whichever thread it is that is in trouble
        for task in own.values():
            found = rule(facts, device, task)
            if found:
                return found
    return None


def reclaim(facts: Facts, _device: Device, task: Task) -> Finding | None:
    if not facts.stack_starts(task, "shrink_", "try_to_free", "balance_dirty", "reclaim_"):
        return None
    return Entry.MEMORY_RECLAIM_LOOP.found([
        f"pid {task.pid}: {short_stack(task)}", f"PR_SET_IO_FLUSHER is {'set' if task.io_flusher else 'not set'}"])


def own_client(facts: Facts, device: Device, task: Task) -> Finding | None:
    if task.address not in facts.clients(device):
        return None
    return Entry.SERVER_WAITS_FOR_ITSELF.found([
        f"pid {task.pid} of the server waits for a request of this device: {short_stack(task)}"])


def own_file(facts: Facts, device: Device, task: Task) -> Finding | None:
    if not facts.stack_has(task, *_BLOCK_FILE_IO) or (fd := own_block_fd(device, task)) is None:
        return None
    return Entry.SERVER_WAITS_FOR_ITSELF.found([
        f"pid {task.pid} of the server has the block device open by fd {fd} and waits in I/O on one: "
        f"{short_stack(task)}"])


def own_open_mutex(facts: Facts, device: Device, task: Task) -> Finding | None:
    lock, mutex = task.blocked_on, device.disk.open_mutex if device.disk else None
    if not lock or not facts.stack_has(task, "bdev_release", "bdev_open", "blkdev_put"):
        return None
    if mutex and lock.mutex != mutex:
        return None  # of another disk, its backing device perhaps
    return Entry.OPEN_MUTEX_DEADLOCK.found([
        f"pid {task.pid} of the server: {short_stack(task)}", f"the mutex is held by {facts.name(lock.owner)}"])


def short_stack(task: Task) -> str:
    return " < ".join(frame.split("+")[0] for frame in task.stack[:12])


def ring_trouble(facts: Facts, daemons: list[Task]) -> Finding | None:
    """Completions or submissions that the server leaves lying. Each kind in all rings before the next kind."""
    pairs = [(task, ring) for task in daemons for ring in facts.rings_of(task)]
    for rule in (overflowed, not_reaped, not_submitted):
        for task, ring in pairs:
            found = rule(facts, task, ring)
            if found:
                return found
    return None


def overflowed(_facts: Facts, task: Task, ring: Ring) -> Finding | None:
    if ring.reaped or not (ring.overflow_list or (ring.queues and "CQ_OVERFLOW" in ring.queues.sq_flags)):
        return None
    return Entry.CQ_OVERFLOW.found([
        f"ring {ring.address:#x} of pid {task.pid}: {ring.overflow_list} completion(s) overflowed"])


def not_reaped(_facts: Facts, task: Task, ring: Ring) -> Finding | None:
    unreaped = ring.queues.cq.unreaped if ring.queues and ring.queues.cq else 0
    if not unreaped or ring.reaped or unreaped < (ring.cq_waiting_for or 0):
        return None
    return Entry.SERVER_NOT_REAPING.found([
        f"{unreaped} completion(s) wait in ring {ring.address:#x}", f"its user {state_words(task)}"])


def not_submitted(facts: Facts, task: Task, ring: Ring) -> Finding | None:
    unsubmitted = ring.queues.sq.unsubmitted if ring.queues and ring.queues.sq else 0
    if not unsubmitted or not facts.idle(task) or {"SQPOLL", "SQ_REWIND"} & set(ring.setup):
        return None
    return Entry.COMMIT_NOT_SUBMITTED.found([
        f"{unsubmitted} SQE(s) in ring {ring.address:#x} of pid {task.pid} are not submitted, and it "
        f"sleeps in {task.waits_in}"])


def state_words(task: Task) -> str:
    return f"{task} is in state {task.state}" + (f" in {task.waits_in}" if task.waits_in else "")


def target(situation: Situation, daemons: list[Task]) -> Finding | None:
    """I/O of the server's own in flight, or a thread of it at work: slow at first, stuck when it is too long."""
    facts, device, evidence = situation.facts, situation.device, list[str]()
    addresses = {None, *(task.address for task in daemons)}
    old = sum(io.task in addresses for io in old_enough(facts, in_state(device.ios, Place.OWNED_BY_SERVER)))
    counts = [(task, *facts.target_io(task)) for task in daemons]
    if sum(count for _task, count, _text in counts) >= old:  # with fewer, some request has no I/O behind it
        evidence += [f"{task} has {text}" for task, count, text in counts if count]
    working = [task for task in facts.server_tasks(device)
               if task.state == "D" or (task.state == "R" and not facts.progress(task))]
    if not evidence and all(task.state == "R" for task in working) and (
            found := without_cpu(facts, working, situation.severity)):
        return found
    evidence += map(state_words, working)
    return Entry.TARGET_SLOW.found(evidence, situation.severity) if evidence else None


def held(situation: Situation, daemons: list[Task]) -> Finding:
    facts = situation.facts
    kept = [task for task in facts.server_tasks(situation.device) if halted(task)]
    if kept and not any(map(facts.progress, daemons)):  # the daemon sleeps, for that thread perhaps
        found = halt(facts, kept, "another thread of the server,")
        found.evidence += [f"daemon {state_words(task)}" for task in daemons]
        return found
    evidence = [f"daemon {task} " + (
        "goes on with other requests" if facts.progress(task) else
        f"sleeps in {task.waits_in or task.state} and has no I/O of its target in flight") for task in daemons]
    if "NEED_GET_DATA" in situation.flags:
        evidence.append("the driver waits for NEED_GET_DATA to be answered")
    if (situation.references_out or 0) > (1 if "AUTO_BUF_REG" in situation.flags else 0):
        evidence.append(f"{situation.references_out} buffer reference(s): "
                        + ("; ".join(facts.buffers_of(situation.ios)) or "in no ring that was found"))
    known = daemons and all(task.standing.frozen is not None for task in daemons)
    return Entry.SERVER_HOLDS_IO.found(evidence, ruled_out=[
        "server stopped, frozen or dead" if known else "server stopped or dead",
        "completions not reaped, CQ overflow, SQEs not submitted", "I/O of the target in its ring"])


def dispatched(situation: Situation) -> Finding:
    """The request is started and not (or no longer) the server's. What stands in rqs[tag] is no evidence here: with an
    I/O scheduler a request that has left its tag may stand there (block/blk-mq.c, blk_mq_get_driver_tag())."""
    facts, device = situation.facts, situation.device
    if (situation.ref or 0) > 0 and not situation.task_registered_buffers and "OWNED_BY_SRV" not in situation.flags:
        return referenced(situation)
    if situation.in_fifo:
        return in_fifo(situation)
    if situation.server_gone():
        return gone(facts, device)
    daemons = situation.daemons()
    return cannot_run(situation, daemons) or self_wait(facts, device, daemons) or task_work(situation, daemons)


def cannot_run(situation: Situation, daemons: list[Task]) -> Finding | None:
    return stopped(situation.facts, daemons) or without_cpu(situation.facts, daemons, situation.severity)


def referenced(situation: Situation) -> Finding:
    facts, ring, places = situation.facts, situation.ring, situation.facts.buffers_of(situation.ios)
    evidence = [f"committed, and {situation.ref} reference(s) are left",
                *(f"its buffer is registered in {place}" for place in places)]
    if "ACTIVE" in situation.flags and "CANCELED" not in situation.flags and ring and facts.dying_ring(ring) \
            and not facts.living_buffers(situation.ios):
        loops = [f"{facts.name(work.task)} is in {work.work}, state {work.state}" for work in facts.works
                 if work.work == "io_ring_exit_work" and work.of == ring]
        return Entry.CANCEL_LIVELOCK.found([
            *evidence, f"the io command's ring {ring:#x} is being torn down and waits for that command", *loops],
            ruled_out=["a living holder of the buffer"])
    if not places:
        evidence.append("no ring that was found has it: an I/O on /dev/ublkc may be in progress")
    return Entry.BUFFER_REFERENCE.found(evidence, ruled_out=["request not committed"])


def in_fifo(situation: Situation) -> Finding:
    device, queue = situation.device, situation.queue
    if "OPEN" not in device.state_bits or device.state == "DEAD":
        return Entry.FIFO_STRANDED.found(["no server has the device open"])
    daemons = situation.daemons()
    kept = cannot_run(situation, daemons)
    if kept:
        return kept
    commands, waiting = queue.fetch_commands, f"{queue.fifo.count if queue.fifo else 0} tag(s) in the fifo"
    if not commands:
        return Entry.NO_FETCH_COMMAND.found([f"{waiting}, no fetch command pending"],
                                            ruled_out=["server stopped or dead"])
    if any(row.active for row in commands):
        return task_work(situation, daemons)
    return Entry.TASK_WORK_LOST.found([f"{waiting}, {len(commands)} fetch command(s) pending, none active"])


def task_work(situation: Situation, daemons: list[Task]) -> Finding:
    """The request waits for its daemon to run task work."""
    facts = situation.facts
    rings = [ring for task in daemons for ring in facts.rings_of(task)]
    pending = any(ring.task_work_pending for ring in rings) or any(
        row and (row.task_work_pending or row.fallback_work_pending) for ring in rings for row in ring.inflight)
    where = [state_words(task) for task in daemons]
    if pending and daemons and all(task.state == "D" for task in daemons):
        return Entry.TARGET_SLOW.found(
            ["task work waits for the daemon", *where], situation.severity,
            text="the daemon waits for its own target's I/O, and takes no request meanwhile")
    if pending:
        return Entry.SERVER_NOT_REAPING.found(["task work waits for the daemon", *where])
    if not rings:
        return Entry.UNKNOWN.found(["no ring of the daemon was found"])
    if not all(map(facts.idle, daemons)) or any("SQPOLL" in ring.setup for ring in rings):
        return Entry.UNKNOWN.found([
            "no task work is pending in the daemon's rings, but the daemon may be at it right now", *where])
    return Entry.TASK_WORK_LOST.found(
        ["no task work is pending in the daemon's rings", f"canceling is {situation.device.booleans.canceling}"],
        ruled_out=["server stopped or dead", "buffer reference"])
