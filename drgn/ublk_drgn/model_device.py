# SPDX-License-Identifier: MIT
"""A ublk device: its queues, io commands, requests and disk, and who has it open. See model.py."""

from __future__ import annotations

import dataclasses
import enum

from .document import Hex, Json, absent


class Place(enum.StrEnum):
    """Where the request of a tag is."""

    WAITING = "waiting"
    OWNED_BY_SERVER = "owned_by_server"
    DISPATCHED = "dispatched"
    REQUEUED = "requeued"
    CANCELED = "canceled"
    NO_COMMAND = "no_command"
    UNKNOWN = "unknown"


# The device has a request that somebody has to go on with.
TAKEN = (Place.OWNED_BY_SERVER, Place.DISPATCHED, Place.REQUEUED)


@dataclasses.dataclass(slots=True)
class Client:
    """Who waits for a request, by the end of its first bio."""

    bi_end_io: str | None
    task: Hex | None


@dataclasses.dataclass(slots=True)
class Request:
    address: Hex
    tag: int | None
    internal_tag: int | None
    state: str
    op: str
    cmd_flags: Hex | None
    cmd_flag_names: list[str]
    rq_flags: list[str]
    sector: int | None
    bytes: int | None
    ref: int | None
    start_time_ns: int | None
    deadline_jiffies: int | None
    age_ns: int | None
    age_jiffies: int | None
    client: Client | None


@dataclasses.dataclass(slots=True)
class Io:
    """An io command (struct ublk_io) and the request behind it."""

    tag: int
    place: Place
    flags: list[str]
    flags_raw: Hex
    res: int | None
    task: Hex | None
    ref: int | None
    task_registered_buffers: int | None
    references_out: int | None
    buf_ctx_handle: Hex | None
    cmd: Hex | None
    req: Hex | None
    ring: Hex | None
    request: Request | None
    confirmed: bool | None = absent()

    @property
    def age_ns(self) -> int | None:
        return self.request.age_ns if self.request else None

    @property
    def client(self) -> Hex | None:
        """The task that waits for the request."""
        return self.request.client.task if self.request and self.request.client else None


@dataclasses.dataclass(slots=True)
class QueueBooleans:
    force_abort: bool | None
    canceling: bool | None
    fail_io: bool | None


@dataclasses.dataclass(slots=True)
class HardwareQueue:
    state: list[str]
    dispatch: int
    active: int | None


@dataclasses.dataclass(slots=True)
class Fifo:
    """Tags that wait for a fetch command; None: the fifo is torn."""

    count: int
    size: int
    tags: list[int] | None


@dataclasses.dataclass(slots=True)
class FetchCommand:
    address: Hex
    cmd: Hex | None
    buf_group: int | None
    active: bool


@dataclasses.dataclass(slots=True)
class Queue:
    id: int | None
    address: Hex
    depth: int
    flags_raw: Hex | None
    nr_io_ready: int | None
    booleans: QueueBooleans
    daemon: Hex | None
    tags_busy: int | None
    tag_waiters: int | None
    hctx: HardwareQueue | None
    fifo: Fifo | None
    fetch_commands: list[FetchCommand] | None
    ios: list[Io]
    summary: dict[str, int]


@dataclasses.dataclass(slots=True)
class References:
    """A percpu_ref; its count is known in atomic mode only."""

    dead: bool | None = None
    atomic: bool | None = None
    count: int | None = None


@dataclasses.dataclass(slots=True)
class RequestQueue:
    address: Hex
    flags: list[str]
    freeze_depth: int | None
    quiesce_depth: int | None
    usage: References
    elevator: str | None
    requeued: list[Hex]
    requeue_work_pending: bool | None
    timeout_jiffies: int | None
    freeze_waiters: list[Hex] | None = absent()


@dataclasses.dataclass(slots=True)
class Disk:
    name: str | None
    address: Hex
    state: list[str]
    sectors: int | None
    openers: int | None
    open_mutex: Hex | None
    open_mutex_owner: Hex | None
    queue: RequestQueue | None = absent()


@dataclasses.dataclass(slots=True)
class Opener:
    """A process that has the device open: by 'fd', or by 'mmap' of the io descriptors."""

    how: str
    pid: int
    comm: str
    fd: int | None
    file: Hex | None
    task: Hex
    state: str
    other_block_files: int | None = absent()

    def __str__(self) -> str:
        return f"{self.comm} (pid {self.pid}) by {self.how}" + (f" {self.fd}" if self.fd is not None else "")


@dataclasses.dataclass(slots=True)
class RegisteredFile:
    """A ring that has the device open."""

    how: str
    ring: Hex
    slot: int
    file: Hex
    users: list[Hex]


@dataclasses.dataclass(slots=True)
class Mount:
    how: str
    id: str | None
    type: str | None


@dataclasses.dataclass(slots=True)
class KernelUser:
    """`undo` is what makes it let go."""

    how: str
    name: str
    undo: str


@dataclasses.dataclass(slots=True)
class Openers:
    char: list[Opener | RegisteredFile] = dataclasses.field(default_factory=list)
    block: list[Opener | RegisteredFile] = dataclasses.field(default_factory=list)
    mounts: list[Mount] = dataclasses.field(default_factory=list)
    kernel: list[KernelUser] | None = absent()


@dataclasses.dataclass(slots=True)
class DeviceBooleans:
    canceling: bool | None
    unprivileged_daemons: bool | None
    block_open: bool | None


@dataclasses.dataclass(slots=True)
class Device:
    id: int
    address: Hex
    state: str
    state_bits: list[str]
    state_bits_raw: Hex | None
    flags: list[str]
    flags_raw: Hex | None
    info: dict[str, int | None]
    booleans: DeviceBooleans
    nr_queue_ready: int | None
    ublksrv_tgid: int | None
    ch_file: Hex | None
    exit_work_pending: bool | None
    partition_scan_pending: bool | None
    mutex_owner: Hex | None
    cancel_mutex_owner: Hex | None
    params: Json | None
    references: int | None
    disk: Disk | None
    queues: list[Queue]
    openers: Openers | None = None
    server_pids: list[int] | None = absent()
    fetching: bool | None = absent()

    @property
    def request_queue(self) -> RequestQueue:
        """An empty one where there is none."""
        return (self.disk and self.disk.queue) or RequestQueue(0, [], None, None, References(), None, [], None, None)

    @property
    def ios(self) -> list[Io]:
        return [io for queue in self.queues for io in queue.ios]

    @property
    def opened(self) -> Openers:
        return self.openers or Openers()
