# SPDX-License-Identifier: MIT
"""blk-mq as ublk uses it: the disk, its queue, hardware queues, tags, requests, and who waits for a request."""

from __future__ import annotations

import typing

from . import constants as c
from .bulk import Columns, scattered
from .document import hexadecimal
from .errors import Fault, Implausible
from .kernel import Kernel
from .layout import View
from .memory import bitmap
from .model_device import Client, Disk, References, Request, RequestQueue


def percpu_ref(view: View, path: str) -> References:
    """A percpu_ref: its count is exact only in atomic mode."""
    pointer = view.get(f"{path}.percpu_count_ptr")
    if pointer is None:
        return References()
    data = view.get(f"{path}.data")
    atomic, count = bool(pointer & c.PERCPU_REF_ATOMIC), None
    if atomic and data:
        count = view.kernel.view("percpu_ref_data", data).get("count.counter")
        if count is not None and count < 0:
            count += 1 << 63  # while the switch to atomic mode runs the count has a bias
    return References(bool(pointer & c.PERCPU_REF_DEAD), atomic, count)


def disk(kernel: Kernel, view: View) -> Disk:
    queue = view.follow("queue", "request_queue")
    part0 = view.follow("part0", "block_device")
    return Disk(
        name=view.text("disk_name"), address=view.address, state=c.DISK_STATE.names(view.get("state")),
        sectors=part0.get("bd_nr_sectors") if part0 else None,
        openers=part0.get("bd_openers.counter") if part0 else None,
        open_mutex=view.place("open_mutex") if view.has("open_mutex") else None,
        open_mutex_owner=mutex_owner(view, "open_mutex"), queue=request_queue(kernel, queue) if queue else None)


def request_queue(kernel: Kernel, queue: View) -> RequestQueue:
    return RequestQueue(
        address=queue.address, flags=kernel.bits("QUEUE_FLAG_DYING", queue.get("queue_flags") or 0, "QUEUE_FLAG_"),
        freeze_depth=queue.get("mq_freeze_depth"), quiesce_depth=queue.get("quiesce_depth"),
        usage=percpu_ref(queue, "q_usage_counter"), elevator=elevator(queue),
        requeued=kernel.attempt("requeue list", lambda: requeue_list(kernel, queue), []),
        requeue_work_pending=work_pending(queue, "requeue_work.work.data"), timeout_jiffies=queue.get("rq_timeout"),
        freeze_waiters=kernel.added("who waits for a frozen queue", lambda: freeze_waiters(kernel, queue)))


def freeze_waiters(kernel: Kernel, queue: View) -> list[int]:
    """Tasks that freeze the queue, and tasks that wait until it is thawed, wait in the same place."""
    entries = (kernel.container("wait_queue_entry", "entry", node)
               for node in kernel.memory.list_nodes(queue.place("mq_freeze_wq.head")))
    return [task for entry in entries if (task := entry.get("private"))]


def elevator(queue: View) -> str | None:
    found = queue.follow("elevator", "elevator_queue")
    kind = found.follow("type", "elevator_type") if found else None
    return kind.text("elevator_name") if kind else None


def work_pending(view: View, path: str) -> bool | None:
    """WORK_STRUCT_PENDING is bit 0 of the data word in all kernels so far."""
    data = view.get(path if view.has(path) else f"{path}.counter")
    return None if data is None else bool(data & 1)


def requeue_list(kernel: Kernel, queue: View) -> list[int]:
    """Requests that wait for the requeue work; those for the flush machinery are on a second list."""
    result: list[int] = []
    for member in ("requeue_list", "flush_list"):
        if queue.has(member):
            result += [kernel.container("request", "queuelist", node).address
                       for node in kernel.memory.list_nodes(queue.place(member))]
    return result


def mutex_owner(view: View, path: str) -> int | None:
    """Address of the task that holds a mutex."""
    word = view.get(f"{path}.owner.counter")
    return c.mutex_task(word) or None if word else None


_TAGS_MAX = 10240  # BLK_MQ_MAX_DEPTH, include/linux/blk-mq.h


class Tags:
    """The tags of one hardware queue."""

    def __init__(self, kernel: Kernel, view: View) -> None:
        self.kernel, self.view = kernel, view
        self.count: int = view.need("nr_tags")
        if self.count > _TAGS_MAX:
            raise Implausible(f"it claims {self.count} tags")

    def requests(self) -> list[int]:
        """tags->rqs: the request that last got each tag."""
        return self.kernel.memory.words(self.view.need("rqs"), self.count)

    def busy(self) -> set[int]:
        """Tags that are taken: set in the bitmap and not yet on the list to be cleared."""
        busy: set[int] = set()
        for reserved in ("breserved_tags", "bitmap_tags"):
            busy |= set(sbitmap(self.view, f"{reserved}.sb"))
        return busy

    def waiters(self) -> int | None:
        """Tasks that wait for a tag."""
        return self.view.get("bitmap_tags.ws_active.counter")


def sbitmap(view: View, path: str) -> typing.Iterator[int]:
    kernel = view.kernel
    words, shift, map_address = (view.get(f"{path}.{name}") for name in ("map_nr", "shift", "map"))
    if not words or not map_address:
        return
    if words > _TAGS_MAX:  # one tag in each is the least there can be
        raise Implausible(f"it claims {words} words")
    layout = kernel.layout("sbitmap_word")
    columns = Columns(kernel, layout, word="word", cleared="cleared")
    data = kernel.memory.read(map_address, layout.size * words)
    for number in range(words):
        row = columns.row(data, number * layout.size)
        value = (row["word"] or 0) & ~(row["cleared"] or 0)
        for bit in bitmap(value.to_bytes(8, "little")):
            yield (number << (shift or 0)) + bit


class Requests:
    """Decodes requests; `detail` adds what is only wanted of the few that matter."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.columns = Columns(kernel, kernel.layout("request"), tag="tag", internal_tag="internal_tag",
                               state="state", cmd_flags="cmd_flags", rq_flags="rq_flags", sector="__sector",
                               bytes="__data_len", start_time_ns="start_time_ns", deadline="deadline",
                               timeout="timeout", ref="ref.counter", bio="bio", queue="q", next="rq_next",
                               io_start_time_ns="io_start_time_ns")
        self.states = {value: name.removeprefix("MQ_RQ_") for value, name in
                       kernel.enumeration("MQ_RQ_IN_FLIGHT").items()}
        self.operations = {value: name.removeprefix("REQ_OP_") for value, name in
                           kernel.enumeration("REQ_OP_READ").items()}
        self.jiffies: int | None = None
        address = kernel.symbols.address("jiffies_64") or kernel.symbols.address("jiffies")
        if address:
            self.jiffies = kernel.memory.word(address)

    def rows(self, addresses: typing.Iterable[int]) -> typing.Iterator[tuple[int, dict[str, int | None] | None]]:
        return scattered(self.kernel, self.columns, addresses)

    def state(self, row: dict[str, int | None]) -> str:
        value = row["state"]
        return "?" if value is None else self.states.get(value, f"unknown ({value})")

    def decode(self, address: int, row: dict[str, int | None]) -> Request:
        operation = (row["cmd_flags"] or 0) & c.REQ_OP_MASK
        return Request(
            address=address, tag=row["tag"], internal_tag=row["internal_tag"], state=self.state(row),
            op=self.operations.get(operation, f"unknown ({operation})"), cmd_flags=row["cmd_flags"],
            cmd_flag_names=self.kernel.bits("__REQ_SYNC", (row["cmd_flags"] or 0) & ~c.REQ_OP_MASK, "__REQ_"),
            rq_flags=self.kernel.bits("__RQF_STARTED", row["rq_flags"] or 0, "__RQF_"),
            sector=row["sector"], bytes=row["bytes"], ref=row["ref"], start_time_ns=row["start_time_ns"],
            deadline_jiffies=row["deadline"], age_ns=self.age(row), age_jiffies=self.age_jiffies(row),
            client=self.kernel.attempt(f"client of request {address:#x}", lambda: client(self.kernel, row["bio"])))

    def age(self, row: dict[str, int | None]) -> int | None:
        """Since the request was allocated. Zero start time: the queue takes no times (iostats is off)."""
        start = row["start_time_ns"] or row["io_start_time_ns"]
        return max(0, self.kernel.now_ns - start) if start and self.kernel.now_ns else None

    def age_jiffies(self, row: dict[str, int | None]) -> int | None:
        """Since it was started; the deadline is renewed whenever the driver resets its timer."""
        if self.jiffies is None or not row["deadline"] or row["timeout"] is None:
            return None
        return self.jiffies - (row["deadline"] - row["timeout"])


def client(kernel: Kernel, bio: int | None) -> Client | None:
    """Who waits for a request, read from the end of its first bio. Only the common ends are known."""
    if not bio:
        return None
    view = kernel.view("bio", bio)
    end, private = view.get("bi_end_io"), view.get("bi_private")
    symbol = kernel.symbol(end)
    result = Client(str(symbol).split("+")[0] if symbol else hexadecimal(end), None)
    try:
        result.task = client_task(kernel, view, end, private)
    except (Fault, LookupError) as error:
        kernel.errors.append(f"client of bio {bio:#x}: {error}")
    return result


def client_task(kernel: Kernel, bio: View, end: int | None, private: int | None) -> int | None:
    if not private:
        return None
    if kernel.is_symbol(end, "bio_wait_end_io", "submit_bio_wait_endio"):
        first = kernel.memory.word(kernel.view("completion", private).place("wait.task_list"))
        head = kernel.view("completion", private).place("wait.task_list")
        return kernel.container("swait_queue", "task_list", first).get("task") if first != head else None
    if kernel.is_symbol(end, "blkdev_bio_end_io"):
        dio = kernel.view("blkdev_dio", private)
        if (dio.get("flags") or 0) & 2:  # DIO_IS_SYNC, block/fops.c
            return dio.get("waiter")
        return submitter(kernel, dio.get("iocb"))
    if kernel.is_symbol(end, "blkdev_bio_end_io_async"):
        return submitter(kernel, kernel.container("blkdev_dio", "bio", bio.address).get("iocb"))
    if kernel.is_symbol(end, "iomap_dio_bio_end_io"):
        dio = kernel.view("iomap_dio", private)
        if dio.get("wait_for_completion"):
            return dio.get("submit.waiter")
        return submitter(kernel, dio.get("iocb"))
    return None


def submitter(kernel: Kernel, iocb: int | None) -> int | None:
    """The task of an io_uring read or write: its kiocb is the start of the io_kiocb."""
    if not iocb or not kernel.is_symbol(kernel.view("kiocb", iocb).get("ki_complete"), "io_complete_rw",
                                        "io_complete_rw_iopoll"):
        return None
    request = kernel.view("io_kiocb", iocb)
    tctx = request.follow("tctx", "io_uring_task")
    return tctx.get("task") if tctx else request.get("task")
