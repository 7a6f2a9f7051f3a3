# SPDX-License-Identifier: MIT
"""One sample, indexed for the rules. Nothing here reads memory."""

from __future__ import annotations

import dataclasses
import typing

from . import servers
from .document import bare, hexadecimal
from .model import Dump
from .model_device import Device, Io, Opener, Place, Queue, Request
from .model_task import Ring, Task

# Where a server thread sleeps when it has nothing to do, or waits for other threads of its own.
IDLE_WAITS = ("io_cqring_wait", "__io_cqring_wait_schedule", "io_cqring_schedule_timeout", "__do_sys_io_uring_enter",
              "ep_poll", "do_epoll_wait", "do_sys_poll", "do_poll", "do_select", "futex_do_wait", "futex_wait_queue",
              "__futex_wait", "futex_wait", "do_futex", "sigsuspend", "do_sigtimedwait", "hrtimer_nanosleep",
              "do_wait", "io_wq_worker", "anon_pipe_read", "pipe_read", "unix_stream_read_generic", "do_signal_stop")
_PLACES_MAX = 8


@dataclasses.dataclass(frozen=True)
class Limits:
    """Below `stuck_ns` nothing is stuck; a target with I/O of its own in flight gets until `slow_ns`."""

    stuck_ns: int = 2_000_000_000
    slow_ns: int = 30_000_000_000


class Facts:
    """Look-ups over one sample."""

    def __init__(self, dump: Dump, limits: Limits) -> None:
        self.limits, self.devices, self.commands, self.works = limits, dump.devices, dump.control_commands, dump.works
        self.control_mutex = dump.control_mutex
        self.tasks = {task.address: task for task in dump.tasks}
        self.rings = {ring.address: ring for ring in dump.rings}
        self._buffers: dict[int, list[tuple[Ring, int]]] = {}
        for ring in dump.rings:
            for buffer in ring.buffers:
                if buffer.request is not None:
                    self._buffers.setdefault(buffer.request, []).append((ring, buffer.slot))
        self._daemons = {device.address: servers.daemons(device) for device in self.devices}
        self._all_daemons: set[int] = set().union(*self._daemons.values())
        self._servers: dict[int, list[Task]] = {}
        self._clients: dict[int, set[int]] = {}

    def task(self, address: int | None) -> Task | None:
        return self.tasks.get(address or 0)

    def name(self, address: int | None) -> str:
        return str(self.task(address) or f"task {hexadecimal(address)}")

    def server_tasks(self, device: Device) -> list[Task]:
        """Threads of the server that are alive, and the daemons of its io commands. Not the daemons of another device
        that the same process serves."""
        if device.address not in self._servers:  # asked for by every rule, and there can be 8 x 4096 io commands
            tgids, daemons = self.server_pids(device), self._daemons[device.address]
            others = self._all_daemons - daemons
            self._servers[device.address] = [
                task for task in self.tasks.values() if self.alive(task) and task.address not in others
                and (task.tgid in tgids or task.address in daemons)]
        return self._servers[device.address]

    def server_pids(self, device: Device) -> set[int]:
        """Thread groups that serve the device; empty: nobody knows."""
        if device.server_pids is not None:
            return set(device.server_pids)
        holders = {row.pid for row in device.opened.char if isinstance(row, Opener)}
        return servers.pids(device, {task.address: task.tgid for task in self.tasks.values()}.get, holders)

    @staticmethod
    def alive(task: Task | None) -> bool:
        return task is not None and task.state not in "ZX" and "EXITING" not in task.flags

    def daemons(self, device: Device, queue: Queue, address: int | None) -> list[Task]:
        """The tasks that can go on with an io command: its own, with batch any that uses the device's rings."""
        named = self.task(address) or self.task(queue.daemon)
        if named:
            return [named]
        files = {row.file for row in device.opened.char if row.file}
        users = {user for ring in self.rings.values() if ring.knows(files) for user in ring.users}
        return [task for task in self.server_tasks(device) if task.address in users]

    def rings_of(self, task: Task) -> list[Ring]:
        return [ring for ring in self.rings.values() if task.address in ring.users]

    def progress(self, task: Task) -> bool:
        """Whether the task used one of its rings between the samples."""
        return any(ring.progress for ring in self.rings_of(task))

    def target_io(self, task: Task) -> tuple[int, str]:
        """Requests of a task that are neither ublk commands nor waits for events: I/O of its target."""
        rings = self.rings_of(task)
        requests = next((row.requests for ring in rings for row in ring.inflight
                         if row and row.task == task.address and row.requests is not None), None)
        if requests is None:
            return 0, ""
        sockets = sum(1 for ring in rings for poll in ring.polls if poll.file == "socket_file_ops")
        events = sum(len(ring.polls) for ring in rings) - sockets
        commands = sum(row.count for ring in rings for row in ring.commands)
        timers = sum(ring.timeouts or 0 for ring in rings)
        count = max(0, requests - commands - events)
        text = f"{count} request(s) of the target in flight"
        if timers:
            text += f", {timers} of them timeouts"
        if sockets:
            text += f", {sockets} waiting for a socket"
        return count, text

    def idle(self, task: Task) -> bool:
        return task.state == "S" and (task.waits_in or "") in IDLE_WAITS

    def stack_has(self, task: Task, *functions: str) -> bool:
        return any(bare(frame) in functions for frame in task.stack)

    def stack_starts(self, task: Task, *prefixes: str) -> bool:
        return any(bare(frame).startswith(prefixes) for frame in task.stack)

    def clients(self, device: Device) -> set[int]:
        """Tasks that wait for a request of the device."""
        if device.address not in self._clients:
            self._clients[device.address] = {io.client for io in device.ios if io.client}
        return self._clients[device.address]

    def dying_ring(self, address: int | None) -> bool:
        """Whether a ring is being torn down."""
        ring = self.rings.get(address or 0)
        return bool(ring and ring.refs.dead) or any(
            work.work == "io_ring_exit_work" and work.of == address for work in self.works)

    def buffers(self, request: Request | None) -> list[tuple[Ring, int]]:
        """Rings and slots that have a request's buffer."""
        return self._buffers.get(request.address, []) if request else []

    def living_buffers(self, ios: list[Io]) -> bool:
        """Whether a ring that is not being torn down has one of these requests' buffers."""
        return any(not self.dying_ring(ring.address) for io in ios for ring, _slot in self.buffers(io.request))

    def buffers_of(self, ios: list[Io]) -> list[str]:
        """Where the buffers of these requests are registered; a few of them."""
        places = [place for io in ios for place in self.buffers(io.request)]
        more = len(places) - _PLACES_MAX
        return [*(f"ring {ring.address:#x} slot {slot} ({self.ring_users(ring)})"
                  for ring, slot in places[:_PLACES_MAX]), *([f"{more} more places"] if more > 0 else ())]

    def ring_users(self, ring: Ring) -> str:
        """Living tasks that use a ring or have it open."""
        names = [self.name(user) for user in ring.users if self.alive(self.task(user))]
        names += [f"{row.comm} (pid {row.pid}) by fd {row.fd}" for row in ring.fds
                  if not any(f"(pid {row.pid})" in name for name in names)]
        return f"used by {', '.join(names)}" if names else "used by no living task"


def age(ios: typing.Iterable[Io]) -> int | None:
    """Of the oldest request."""
    return max((io.age_ns for io in ios if io.age_ns is not None), default=None)


def in_state(ios: typing.Iterable[Io], *places: Place) -> list[Io]:
    """The io commands in these places whose request was seen unchanged in both samples, where there were two."""
    return [io for io in ios if io.place in places and io.confirmed is not False]
