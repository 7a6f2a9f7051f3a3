# SPDX-License-Identifier: MIT
"""Rules for a server that is dead, or nearly so, and whose device the driver was not told of yet."""

from __future__ import annotations

from .catalogue import Entry
from .document import bare
from .facts import Facts
from .model import Finding
from .model_device import Device, Opener, RegisteredFile
from .model_task import Task, Work


def holders(facts: Facts, rows: list[Opener | RegisteredFile]) -> list[str]:
    """Living users of a char or block device, of any kind."""
    return [registered(facts, row) if isinstance(row, RegisteredFile) else str(row) for row in rows
            if isinstance(row, RegisteredFile) or row.state not in "ZX"]


def registered(facts: Facts, row: RegisteredFile) -> str:
    ring = facts.rings.get(row.ring)
    return f"registered file {row.slot} of ring {row.ring:#x}" + (f", {facts.ring_users(ring)}" if ring else "")


def gone(facts: Facts, device: Device) -> Finding:
    """The daemon is dead, but the driver was not told."""
    ending = exit_flushes(facts, device) or exiting(facts, device)
    if ending:
        return ending
    held = holders(facts, device.opened.char)
    loop = [row.ring for row in device.opened.char if isinstance(row, RegisteredFile) and facts.dying_ring(row.ring)]
    if loop and len(loop) == len(held):
        return ring_ends(facts, loop)
    if held:
        return char_held(facts, device, held)
    return Entry.UNKNOWN.found(["the daemon is dead and nobody has the char device open",
                                f"exit_work pending: {device.exit_work_pending}"])


def char_held(facts: Facts, device: Device, held: list[str]) -> Finding:
    found = Entry.CHARDEV_HELD.found(["the daemon of the io command is dead",
                                      *(f"char device is open: {text}" for text in held)])
    own = sorted({task.tgid for task in facts.server_tasks(device)} & {
        row.pid for row in device.opened.char if isinstance(row, Opener)})
    if own:
        words = ", ".join(map(str, own))
        found.text = "the thread that served these tags has ended, and its process still has the char device open"
        found.evidence.append(f"other threads of the server (pid {words}) go on")
        found.next_step = f"end the server's process (pid {words}), which closes the device"
    return found


def ring_ends(facts: Facts, rings: list[int]) -> Finding:
    """Rings of a dead server whose teardown has not ended: the kernel either works at it or waits for requests."""
    words = [f"ring {ring:#x}, which has the char device as a registered file, is being torn down" for ring in rings]
    works = [work for work in facts.works if work.work == "io_ring_exit_work" and work.of in rings]
    if any(spins(work) for work in works):
        return Entry.ENDLESS_CANCEL.found(words, ruled_out=[
            "char device held by a living process", "a teardown that sleeps until I/O of the server's target ends"])
    counts = [count for address in rings if (ring := facts.rings.get(address)) and (count := ring.refs.count)]
    return Entry.SERVER_EXIT_WAITS_IO.found([
        *words, *(f"{facts.name(work.task)} sleeps in {work.work}" for work in works),
        *(f"{count} reference(s) to the ring are left" for count in counts)],
        ruled_out=["char device held by a living process", "a cancel that loops"])


def spins(work: Work) -> bool:
    """A worker that was running in each sample."""
    return work.state == "R" if work.spins is None else work.spins


def exit_flushes(facts: Facts, device: Device) -> Finding | None:
    """The last task of a mount namespace unmounts what is in it, before its char device is closed: cleanup_mnt() is the
    later task work (fs/namespace.c, mntput_no_expire_slowpath), and so the first to run."""
    if device.opened.kernel is not None and not device.opened.mounts:
        return None  # it flushes the file system of another device
    for task in ending(facts, device):
        if facts.stack_has(task, "do_exit") and facts.stack_starts(task, "cleanup_mnt", "blkdev_issue_flush"):
            return Entry.SERVER_EXIT_FLUSHES.found([
                f"pid {task.pid} of the server ends, and waits in {task.waits_in}: {stack_words(task)}"],
                ruled_out=["char device held by another process"])
    return None


def ending(facts: Facts, device: Device) -> list[Task]:
    """Threads of the server that are about to end and have not got there."""
    pids = facts.server_pids(device)
    return [task for task in facts.tasks.values() if task.tgid in pids and task.state not in "ZX"
            and ("EXITING" in task.flags or task.standing.killed or facts.stack_has(task, "do_exit"))]


def exiting(facts: Facts, device: Device) -> Finding | None:
    """Killed, and a thread of it cannot die: it sleeps where no signal wakes it, so the char device stays open."""
    tasks = [task for task in ending(facts, device) if task.state == "D"]
    if not tasks:
        return None
    return Entry.SERVER_EXITING.found([
        f"pid {task.pid} of the server ends, and waits in {task.waits_in}: {stack_words(task)}" for task in tasks],
        ruled_out=["char device held by another process"])


def stack_words(task: Task) -> str:
    return " < ".join(bare(frame) for frame in task.stack if not bare(frame).startswith("__sched"))
