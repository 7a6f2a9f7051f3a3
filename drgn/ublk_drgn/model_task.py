# SPDX-License-Identifier: MIT
"""Tasks and what they work with: rings, cgroups, control commands, works of workqueues. See model.py."""

from __future__ import annotations

import dataclasses

from .document import Hex, absent, inlined
from .model_device import References


@dataclasses.dataclass(slots=True)
class Submissions:
    head: int
    tail: int
    entries: int | None
    unsubmitted: int | None


@dataclasses.dataclass(slots=True)
class Completions:
    head: int
    tail: int
    entries: int | None
    unreaped: int


@dataclasses.dataclass(slots=True)
class RingQueues:
    """What user space shares with the kernel."""

    sq: Submissions | None
    cq: Completions | None
    overflow: int | None
    dropped: int | None
    sq_flags: list[str]


@dataclasses.dataclass(slots=True)
class CancelableCommands:
    """How many io_uring commands on a file wait in a ring."""

    file: Hex | None
    count: int


@dataclasses.dataclass(slots=True)
class Poll:
    op: str
    file: str | None


@dataclasses.dataclass(slots=True)
class FixedFile:
    slot: int
    file: Hex


@dataclasses.dataclass(slots=True)
class RequestBuffer:
    """A registered buffer that belongs to a block request."""

    slot: int
    request: Hex | None
    bytes: int | None
    release: str | None
    node_refs: int | None
    refs: int | None


@dataclasses.dataclass(slots=True)
class InFlight:
    """Of one task over all its rings."""

    task: Hex
    requests: int | None
    task_work_pending: bool | None
    fallback_work_pending: bool | None
    in_cancel: int | None


@dataclasses.dataclass(slots=True)
class RingFd:
    pid: int
    comm: str
    fd: int


@dataclasses.dataclass(slots=True)
class Ring:
    """`progress`: it was used between the samples; `reaped`: user space has taken completions."""

    address: Hex
    setup: list[str]
    users: list[Hex]
    submitter: Hex | None
    refs: References
    uring_lock_owner: Hex | None
    exit_work_pending: bool | None
    task_work_pending: bool | None
    cq_waiting_for: int | None
    cached_sq_head: int | None
    cached_cq_tail: int | None
    timeouts: int | None
    overflow_list: int | None
    queues: RingQueues | None
    commands: list[CancelableCommands]
    polls: list[Poll]
    files: list[FixedFile]
    file_slots: int | None
    buffers: list[RequestBuffer]
    buffer_slots: int | None
    inflight: list[InFlight | None]
    fds: list[RingFd]
    progress: bool | None = absent()
    reaped: bool | None = absent()

    def knows(self, files: set[int]) -> bool:
        """Whether it has commands on one of these files, or one of them registered."""
        return any(row.file in files for row in self.commands) or any(row.file in files for row in self.files)


@dataclasses.dataclass(slots=True)
class Cgroup:
    path: str
    frozen_by: list[str]
    freezer_v1: str | None


@dataclasses.dataclass(slots=True)
class Quota:
    """CPU time of a cgroup; `throttled_more`: it was used up again between the samples."""

    path: str
    quota_ns: int
    period_ns: int
    nr_periods: int | None
    nr_throttled: int | None
    throttled_now: bool | None
    throttled_more: bool | None = absent()


@dataclasses.dataclass(slots=True)
class Lock:
    """A mutex that is waited for."""

    mutex: Hex
    owner: Hex | None


@dataclasses.dataclass(slots=True)
class Standing:
    """What decides whether a task can run."""

    cpu: int | None = None
    policy: str | None = None
    frozen: bool | None = None
    killed: bool | None = None
    stop_signal: int | None = None
    tracer: Hex | None = None
    cgroup: Cgroup | None = None
    quotas: list[Quota] | None = None


@dataclasses.dataclass(slots=True)
class Task:
    """`off_cpu_ns`: since it last got a CPU; `roles`: why it is in the dump."""

    address: Hex
    pid: int
    tgid: int
    comm: str
    state: str
    flags: list[str]
    io_flusher: bool
    on_cpu: bool
    roles: list[str]
    stack: list[str]
    waits_in: str | None
    off_cpu_ns: int | None
    blocked_on: Lock | None
    standing: Standing = inlined(Standing)

    def __str__(self) -> str:
        return f"{self.comm} (pid {self.pid})"

    @property
    def frozen_by(self) -> list[str]:
        """Paths of the cgroups that are frozen."""
        return self.standing.cgroup.frozen_by if self.standing.cgroup else []

    @property
    def quotas(self) -> list[Quota]:
        return self.standing.quotas or []


@dataclasses.dataclass(slots=True)
class Workers:
    """Of an io-wq, of one sort."""

    count: int | None
    most: int | None


@dataclasses.dataclass(slots=True)
class Command:
    """A control command that is being carried out, or (queued) is to be."""

    command: str
    device: int | None
    ring: Hex | None
    worker: Hex | None
    issuer: Hex
    queued: bool
    workers: Workers | None = absent()
    confirmed: bool | None = absent()


@dataclasses.dataclass(slots=True)
class Work:
    """A worker of a workqueue inside `work`; `of`: the ring or device; `spins`: it ran in both samples."""

    work: str
    task: Hex
    of: Hex
    state: str
    spins: bool | None = absent()
    confirmed: bool | None = absent()


@dataclasses.dataclass(slots=True)
class ControlMutex:
    address: Hex
    owner: Hex | None
    waiters: bool
    confirmed: bool | None = absent()
