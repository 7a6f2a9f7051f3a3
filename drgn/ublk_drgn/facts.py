# SPDX-License-Identifier: MIT
"""The document, indexed for the rules. Nothing here reads memory."""

from __future__ import annotations

import dataclasses
import typing

from . import catalogue
from .document import Json, bare

# Where a server thread sleeps when it has nothing to do, or waits for other threads of its own.
IDLE_WAITS = ("io_cqring_wait", "__io_cqring_wait_schedule", "io_cqring_schedule_timeout", "__do_sys_io_uring_enter",
              "ep_poll", "do_epoll_wait", "do_sys_poll", "do_poll", "do_select", "futex_do_wait", "futex_wait_queue",
              "__futex_wait", "futex_wait", "do_futex", "sigsuspend", "do_sigtimedwait", "hrtimer_nanosleep",
              "do_wait", "io_wq_worker", "anon_pipe_read", "pipe_read", "unix_stream_read_generic", "do_signal_stop")
TEARDOWN_FREEZE = ("blk_mq_freeze_queue_wait", "ublk_stop_dev_unlocked", "__del_gendisk", "del_gendisk")
_PLACES_MAX = 8


@dataclasses.dataclass
class Finding:
    """One match. `tags` may be cut in text, never in JSON."""

    code: str
    severity: str
    device: int | None = None
    queue: int | None = None
    tags: list[int] = dataclasses.field(default_factory=list)
    since_ns: int | None = None
    evidence: list[str] = dataclasses.field(default_factory=list)
    ruled_out: list[str] = dataclasses.field(default_factory=list)
    text: str = ""

    def json(self) -> Json:
        entry = catalogue.CATALOGUE[self.code]
        return {"code": self.code, "catalogue": entry.id, "severity": self.severity, "device": self.device,
                "queue": self.queue, "tags": self.tags, "owner": entry.owner, "since_ns": self.since_ns,
                "title": entry.title, "text": self.text or entry.title, "evidence": self.evidence,
                "next_step": entry.next_step, "ruled_out": self.ruled_out}


@dataclasses.dataclass(frozen=True)
class Limits:
    """Below `stuck_ns` nothing is stuck; a target with I/O of its own in flight gets until `slow_ns`."""

    stuck_ns: int = 2_000_000_000
    slow_ns: int = 30_000_000_000


class Facts:
    """Look-ups over one document."""

    def __init__(self, document: Json, limits: Limits) -> None:
        self.document, self.limits = document, limits
        self.devices: list[Json] = document["devices"]
        self.tasks: dict[str, Json] = {task["address"]: task for task in document["tasks"]}
        self.rings: dict[str, Json] = {ring["address"]: ring for ring in document["rings"]}
        self.commands: list[Json] = document["control_commands"]
        self.works: list[Json] = document["works"]
        self._buffers: dict[str, list[tuple[Json, int]]] = {}
        for ring in self.rings.values():
            for row in ring["buffers"]:
                if row["request"] is None:
                    continue
                self._buffers.setdefault(row["request"], []).append((ring, row["slot"]))
        self._servers: dict[str, list[Json]] = {}
        self._clients: dict[str, set[str]] = {}

    def task(self, address: str | None) -> Json | None:
        return self.tasks.get(address or "")

    def name(self, address: str | None) -> str:
        task = self.task(address)
        return f"{task['comm']} (pid {task['pid']})" if task else f"task {address}"

    def server_tasks(self, device: Json) -> list[Json]:
        """Threads of the server that are alive, and the daemons of its io commands."""
        if device["address"] not in self._servers:  # asked for by every rule, and there can be 8 x 4096 io commands
            self._servers[device["address"]] = self._server_tasks(device)
        return self._servers[device["address"]]

    def _server_tasks(self, device: Json) -> list[Json]:
        tgids = {device["ublksrv_tgid"], device["info"].get("ublksrv_pid")} - {0, -1, None}
        daemons = {io["task"] for queue in device["queues"] for io in queue["ios"]}
        return [task for task in self.tasks.values() if self.alive(task)
                and (task["tgid"] in tgids or task["address"] in daemons)]

    @staticmethod
    def alive(task: Json | None) -> bool:
        return task is not None and task["state"] not in "ZX" and "EXITING" not in task["flags"]

    def daemons(self, device: Json, queue: Json, ios: typing.Sequence[Json]) -> list[Json]:
        """The tasks that can go on with these io commands: their own, with batch any that uses the device's rings."""
        named = [self.tasks[io["task"]] for io in ios if io["task"] in self.tasks]
        if named:
            return list({task["address"]: task for task in named}.values())
        if queue["daemon"] in self.tasks:
            return [self.tasks[queue["daemon"]]]
        files = {row["file"] for row in (device["openers"] or {}).get("char", ()) if row["file"]}
        users = {user for ring in self.rings.values() for user in ring["users"]
                 if any(row["file"] in files for row in [*ring["commands"], *ring["files"]])}
        return [task for task in self.server_tasks(device) if task["address"] in users]

    def rings_of(self, task: Json) -> list[Json]:
        return [ring for ring in self.rings.values() if task["address"] in ring["users"]]

    def progress(self, task: Json) -> bool:
        """Whether the task used one of its rings between the samples."""
        return any(ring.get("progress", False) for ring in self.rings_of(task))

    def target_io(self, task: Json) -> tuple[int, str]:
        """Requests of a task that are neither ublk commands nor waits for events: I/O of its target."""
        rings = self.rings_of(task)
        counts = [row for ring in rings for row in ring["inflight"]
                  if row and row["task"] == task["address"] and row["requests"] is not None]
        if not counts:
            return 0, ""
        sockets = sum(1 for ring in rings for poll in ring["polls"] if poll["file"] == "socket_file_ops")
        events = sum(len(ring["polls"]) for ring in rings) - sockets
        commands = sum(row["count"] for ring in rings for row in ring["commands"])
        timers = sum(ring["timeouts"] or 0 for ring in rings)
        count = max(0, counts[0]["requests"] - commands - events)
        text = f"{count} request(s) of the target in flight"
        if timers:
            text += f", {timers} of them timeouts"
        if sockets:
            text += f", {sockets} waiting for a socket"
        return count, text

    def idle(self, task: Json) -> bool:
        return task["state"] == "S" and (task["waits_in"] or "") in IDLE_WAITS

    def stack_has(self, task: Json | None, *functions: str) -> bool:
        return task is not None and any(bare(frame) in functions for frame in task["stack"])

    def stack_starts(self, task: Json | None, *prefixes: str) -> bool:
        return task is not None and any(bare(frame).startswith(prefixes) for frame in task["stack"])

    def clients(self, device: Json) -> set[str]:
        """Tasks that wait for a request of the device."""
        if device["address"] not in self._clients:
            self._clients[device["address"]] = {
                address for queue in device["queues"] for io in queue["ios"]
                if (address := ((io["request"] or {}).get("client") or {}).get("task"))}
        return self._clients[device["address"]]

    def dying_ring(self, address: str | None) -> bool:
        """Whether a ring is being torn down."""
        ring = self.rings.get(address or "")
        return bool(ring and ring["refs"]["dead"]) or any(
            work["work"] == "io_ring_exit_work" and work["of"] == address for work in self.works)

    def has_buffer(self, request: str | None) -> bool:
        return request in self._buffers

    def buffers_of(self, ios: list[Json]) -> list[str]:
        """Where the buffers of these requests are registered; a few of them."""
        places = [place for io in ios for place in self._buffers.get((io["request"] or {}).get("address"), ())]
        return [f"ring {ring['address']} slot {slot} ({self.ring_users(ring)})" for ring, slot in places[:_PLACES_MAX]] + (
            [f"{len(places) - _PLACES_MAX} more places"] if len(places) > _PLACES_MAX else [])

    def ring_users(self, ring: Json) -> str:
        """Living tasks that use a ring or have it open."""
        names = [self.name(user) for user in ring["users"] if self.alive(self.task(user))]
        names += [f"{row['comm']} (pid {row['pid']}) by fd {row['fd']}" for row in ring["fds"]
                  if not any(f"(pid {row['pid']})" in name for name in names)]
        return f"used by {', '.join(names)}" if names else "used by no living task"


def age(ios: typing.Iterable[Json]) -> int | None:
    """Of the oldest request."""
    ages = [io["request"]["age_ns"] for io in ios if io["request"] and io["request"]["age_ns"] is not None]
    return max(ages, default=None)


def in_state(queue: Json, *places: str) -> list[Json]:
    """The io commands in these places whose request was seen unchanged in both samples, where there were two."""
    return [io for io in queue["ios"] if io["place"] in places and io.get("confirmed") is not False]
