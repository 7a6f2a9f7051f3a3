# SPDX-License-Identifier: MIT
"""io_uring instances that have to do with ublk: queues, overflow, task work, buffers, files, references."""

from __future__ import annotations

import typing

from . import constants as c
from .block import mutex_owner, percpu_ref, work_pending
from .errors import Fault, Implausible, MissingType
from .kernel import Kernel
from .layout import View
from .model_task import (
    CancelableCommands,
    Completions,
    FixedFile,
    InFlight,
    Poll,
    RequestBuffer,
    Ring,
    RingQueues,
    Submissions,
)
from .tasks import Task, TaskTable
from .xarray import entries

_ENTRIES_MAX = 100_000  # io commands and completions of a ring
_TABLE_MAX = 1 << 20  # IORING_MAX_FIXED_FILES, io_uring/rsrc.c


def of_task(kernel: Kernel, task: Task) -> list[int]:
    """The rings that a task has used: the nodes of its io_uring_task."""
    if not task["io_uring"]:
        return []
    tctx = kernel.view("io_uring_task", task["io_uring"])
    return [kernel.view("io_tctx_node", node).need("ctx") for _index, node in entries(kernel, tctx.place("xa"))]


def users(kernel: Kernel, tasks: TaskTable) -> dict[int, list[Task]]:
    """Each ring with the tasks that have used it. A dead server's ring is found by its commands only."""
    result: dict[int, list[Task]] = {}
    for task in list(tasks.by_address.values()):
        if task["io_uring"] and not task.dead:
            for ring in kernel.attempt(f"rings of task {task['pid']}", lambda: of_task(kernel, task), []):
                result.setdefault(ring, []).append(task)
    return result


def decode(kernel: Kernel, address: int, tasks: list[Task]) -> Ring:
    """A ring, without its descriptors (see dump.py)."""
    ring = kernel.view("io_ring_ctx", address)
    return Ring(
        address=address, setup=c.RING_SETUP.names(ring.get("flags")), users=[task.address for task in tasks],
        submitter=ring.get("submitter_task") or None,
        refs=percpu_ref(ring, "refs"), uring_lock_owner=mutex_owner(ring, "uring_lock"),
        exit_work_pending=work_pending(ring, "exit_work.data"), task_work_pending=task_work(ring),
        cq_waiting_for=ring.get("cq_wait_nr.counter"),
        cached_sq_head=ring.get("cached_sq_head"), cached_cq_tail=ring.get("cached_cq_tail"),
        timeouts=count(kernel, ring, "timeout_list"), overflow_list=count(kernel, ring, "cq_overflow_list"),
        queues=kernel.attempt(f"queues of ring {address:#x}", lambda: queues(ring)),
        commands=kernel.attempt(f"commands of ring {address:#x}", lambda: commands(kernel, ring), []),
        polls=kernel.attempt(f"polls of ring {address:#x}", lambda: polls(kernel, ring), []),
        files=kernel.attempt(f"files of ring {address:#x}", lambda: fixed_files(kernel, ring), []),
        file_slots=ring.get("file_table.data.nr"),
        buffers=kernel.attempt(f"buffers of ring {address:#x}", lambda: request_buffers(kernel, ring), []),
        buffer_slots=ring.get("buf_table.nr"),
        inflight=[kernel.attempt("requests in flight", lambda: inflight(kernel, task)) for task in tasks], fds=[])


def count(kernel: Kernel, ring: View, member: str) -> int | None:
    if not ring.has(member):
        return None
    head = ring.place(member)
    found: int | None = kernel.attempt(member, lambda: sum(1 for _node in kernel.memory.list_nodes(head, _ENTRIES_MAX)))
    return found


def task_work(ring: View) -> bool | None:
    """Work for the submitter that it has not run yet (DEFER_TASKRUN; other rings use the task's list)."""
    if ring.has("work_list.tail"):  # Linux 7.2: a queue that is empty when its tail is its stub
        return ring.get("work_list.tail") != ring.place("work_list.stub")
    if ring.has("work_llist.first"):
        return bool(ring.get("work_llist.first") or ring.get("retry_llist.first"))
    return None


def task_work_of(kernel: Kernel, task: Task) -> bool | None:
    """io_uring's work for a task whose rings do not defer it."""
    if not task["io_uring"]:
        return None
    tctx = kernel.view("io_uring_task", task["io_uring"])
    if tctx.has("task_list.tail"):
        return tctx.get("task_list.tail") != tctx.place("task_list.stub")
    if tctx.has("task_list.first"):
        return bool(tctx.get("task_list.first"))
    return None


def queues(ring: View) -> RingQueues:
    """What fdinfo shows; head and tail of user space may be anything, so they are only differences of u32."""
    rings = ring.follow("rings", "io_rings")
    if rings is None:
        return RingQueues(None, None, None, None, [])
    sq_head, sq_tail, cq_head, cq_tail = map(rings.need, ("sq.head", "sq.tail", "cq.head", "cq.tail"))
    cached = ring.get("cached_sq_head")
    return RingQueues(
        Submissions(sq_head, sq_tail, ring.get("sq_entries"),
                    None if cached is None else sq_tail - cached & 0xFFFFFFFF),
        Completions(cq_head, cq_tail, ring.get("cq_entries"), cq_tail - cq_head & 0xFFFFFFFF),
        overflow=rings.get("cq_overflow"), dropped=rings.get("sq_dropped"),
        sq_flags=c.SQ_FLAGS.names(rings.get("sq_flags.counter")))


def commands(kernel: Kernel, ring: View) -> list[CancelableCommands]:
    """io_uring commands that can be canceled: FETCH commands that wait, by file."""
    if not ring.has("cancelable_uring_cmd"):
        return []
    found: dict[int, int] = {}
    layout = kernel.layout("io_kiocb")
    distance = layout.locate("file")[0] // 8 - layout.locate("hash_node")[0] // 8
    for node in kernel.memory.chain(ring.get("cancelable_uring_cmd.first") or 0, _ENTRIES_MAX):
        file = kernel.memory.word(node + distance)
        found[file] = found.get(file, 0) + 1
    return [CancelableCommands(file, count) for file, count in found.items()]


def polls(kernel: Kernel, ring: View) -> list[Poll]:
    """Requests that wait for a file to become ready, with the sort of file: a socket is a target's, an eventfd not."""
    if not ring.has("cancel_table.hbs"):
        return []
    buckets, bits = ring.get("cancel_table.hbs"), ring.get("cancel_table.hash_bits") or 0
    names, result = kernel.enumeration("IORING_OP_NOP"), []
    node_offset = kernel.layout("io_kiocb").locate("hash_node")[0] // 8
    for first in kernel.memory.words(buckets or 0, 1 << min(bits, 12)) if buckets else ():
        for node in kernel.memory.chain(first):
            request = kernel.view("io_kiocb", node - node_offset)
            file = request.follow("file", "file")
            symbol = kernel.symbol(file.get("f_op")) if file else None
            opcode = request.get("opcode") or 0
            result.append(Poll(names.get(opcode, f"unknown ({opcode})").removeprefix("IORING_OP_"),
                               symbol.name if symbol else None))
    return result


def table(kernel: Kernel, ring: View, path: str) -> typing.Iterator[tuple[int, View]]:
    slots, nodes = ring.get(f"{path}.nr"), ring.get(f"{path}.nodes")
    if slots and nodes:
        if slots > _TABLE_MAX:
            raise Implausible(f"it claims {slots} slots")
        for index, node in enumerate(kernel.memory.words(nodes, slots)):
            if node:
                yield index, kernel.view("io_rsrc_node", node)


def fixed_files(kernel: Kernel, ring: View) -> list[FixedFile]:
    return [FixedFile(index, pointer & ~c.FILE_POINTER_FLAGS)
            for index, node in table(kernel, ring, "file_table.data") if (pointer := node.get("file_ptr"))]


def request_buffers(kernel: Kernel, ring: View) -> list[RequestBuffer]:
    """Registered buffers that belong to a block request, with the request they hold."""
    result = []
    for index, node in table(kernel, ring, "buf_table"):
        buffer = node.follow("buf", "io_mapped_ubuf")
        if buffer is None:
            continue
        kernel_owned = bool((buffer.get("flags") or 0) & c.REGBUF_KERNEL) if buffer.has("flags") else \
            bool(buffer.get("is_kbuf"))
        if kernel_owned:
            symbol = kernel.symbol(buffer.get("release"))
            result.append(RequestBuffer(index, buffer.get("priv"), buffer.get("len"), symbol.name if symbol else None,
                                        node_refs=node.get("refs"), refs=buffer.get("refs.refs.counter")))
    return result


def inflight(kernel: Kernel, task: Task) -> InFlight:
    """Requests of a task over all its rings; the difference to its ublk commands is I/O of the target."""
    tctx = kernel.view("io_uring_task", task["io_uring"])
    total, percpu = tctx.get("inflight.count"), tctx.get("inflight.counters")
    if total is not None and percpu:
        total += kernel.cpu_sum(percpu)
    cached = tctx.get("cached_refs")
    return InFlight(task.address, None if total is None else total - (cached or 0),
                    task_work_pending=task_work_of(kernel, task),
                    fallback_work_pending=work_pending(tctx, "fallback_work.data"),
                    in_cancel=tctx.get("in_cancel.counter"))


def concerns_ublk(ring: Ring, ublk_files: set[int]) -> bool:
    """Whether a ring has commands on ublk's files, its files registered, or requests' buffers."""
    return ring.knows(ublk_files) or any("ublk" in (buffer.release or "") for buffer in ring.buffers)


def safe_decode(kernel: Kernel, address: int, tasks: list[Task]) -> Ring | None:
    try:
        return decode(kernel, address, tasks)
    except (Fault, Implausible, MissingType, LookupError) as error:
        kernel.errors.append(f"ring {address:#x}: {error}")
        return None
