# SPDX-License-Identifier: MIT
"""One sample: devices with all that belongs to them, as the Dump that everything else works on."""

from __future__ import annotations

import functools

import drgn

from . import constants as c
from . import control, device, openers, rings, servers, works
from .document import bare
from .errors import Fault
from .kernel import LOOKS_AT, Kernel
from .kernel_users import KernelUsers
from .layout import View
from .model import Dump, Source, tool
from .model_device import Device
from .model_task import Command, ControlMutex, Ring, RingFd, Work
from .tasks import Task, TaskTable, own_pids

# A blocked task belongs into a dump if one of these is on its stack.
OF_INTEREST = ("ublk", "blk_mq_freeze", "blk_mq_get_tag", "bio_await", "submit_bio_wait", "__blkdev_direct_IO", "bdev_",
               "blkdev_", "del_gendisk", "disk_scan_partitions", "read_part_sector", "io_wq_put_and_exit",
               "io_uring_cancel", "io_ring_exit", "blk_mq_submit_bio", "__bio_queue_enter", "blk_queue_enter",
               "folio_wait", "shrink_", "balance_dirty_pages", "sync_", "elevator_change", "iomap_dio", "jbd2",
               "generic_shutdown_super")


class Roles:
    """Why each task is in the dump."""

    def __init__(self, tasks: TaskTable) -> None:
        self.tasks = tasks
        self.of: dict[int, set[str]] = {}

    def add(self, address: int | None, role: str) -> None:
        if address and self.tasks.get(address):
            self.of.setdefault(address, set()).add(role)


class Sample:
    """Reads the kernel once."""

    def __init__(self, kernel: Kernel, all_tags: bool, stacks: dict[str, list[str]] | None = None) -> None:
        self.kernel, self.all_tags = kernel, all_tags
        self.tasks = TaskTable(kernel)
        self.tasks.recorded_stacks = stacks
        self.roles = Roles(self.tasks)
        self.files = openers.Files(kernel, self.tasks)

    def read(self) -> Dump:
        kernel = self.kernel
        views: list[View] = kernel.attempt("list of devices", lambda: device.all_devices(kernel), [])
        devices: list[Device] = [decoded for view in views if (decoded := kernel.attempt(
            "device", functools.partial(device.decode, kernel, view, self.all_tags)))]
        self._device_roles(devices)
        commands: list[Command] = kernel.attempt(
            "control commands", lambda: control.in_flight(kernel, self.tasks, self.files), [])
        for command in commands:
            self.roles.add(command.worker, "control worker")
            self.roles.add(command.issuer, "control issuer")
        running: list[Work] = kernel.attempt("workqueue workers", lambda: works.running(kernel, self.tasks), [])
        for work in running:
            self.roles.add(work.task, work.work)
        decoded_rings = self._rings(devices, running)
        self._openers(devices, decoded_rings)
        self._blocked_tasks()
        if kernel.looks_at >= LOOKS_AT:
            self._standing()
        control_mutex = kernel.attempt("ublk_ctl_mutex", lambda: device.control_mutex(kernel))
        self.roles.add(control_mutex.owner if control_mutex else None, "holds ublk_ctl_mutex")
        for decoded in devices:
            self.roles.add(decoded.mutex_owner, "holds a device's mutex")
            self.roles.add(decoded.disk.open_mutex_owner if decoded.disk else None, "holds open_mutex")
        return self._dump(devices, decoded_rings, commands, running, control_mutex)

    def _openers(self, devices: list[Device], decoded_rings: list[Ring]) -> None:
        kernel = self.kernel
        inside = KernelUsers(kernel, self.files) if kernel.looks_at >= LOOKS_AT else None
        for decoded in devices:
            held = bool(decoded.ch_file) or "OPEN" in decoded.state_bits
            decoded.openers = found = kernel.attempt("openers", functools.partial(
                openers.of_device, kernel, self.files, decoded.address, decoded_rings, held))
            if inside is not None and found:
                files, mounts = len({row.file for row in found.block}), len(found.mounts)
                found.kernel = kernel.attempt("users in the kernel", functools.partial(
                    inside.of_device, decoded.address, files, mounts))
            for waiter in decoded.request_queue.freeze_waiters or ():
                self.roles.add(waiter, "waits for a queue to be frozen or thawed")

    def _device_roles(self, devices: list[Device]) -> None:
        for decoded in devices:
            holders = {row.pid for row in self.files.char_files(decoded.address)}
            decoded.server_pids = sorted(servers.pids(decoded, self._tgid, holders))
            for tgid in decoded.server_pids:
                for task in self.tasks.threads(tgid):
                    self.roles.add(task.address, "server")
            for queue in decoded.queues:
                for io in queue.ios:
                    self.roles.add(io.task, "daemon")
                    self.roles.add(io.client, "client")
                self.roles.add(queue.daemon, "daemon")

    def _rings(self, devices: list[Device], running: list[Work]) -> list[Ring]:
        """Rings of servers, of io commands, of workers that tear rings down, and any other that knows ublk."""
        kernel = self.kernel
        users: dict[int, list[Task]] = kernel.attempt("rings", lambda: rings.users(kernel, self.tasks), {})
        fds: dict[int, list[RingFd]] = {}
        for task, fd, file in self.files.of_kind("io_uring_fops"):
            address = (self.files.row(file) or {}).get("private") or 0
            users.setdefault(address, [])
            fds.setdefault(address, []).append(RingFd(task["tgid"], task.comm, fd))
        servers = {address for address, roles in self.roles.of.items() if roles & {"server", "daemon"}}
        named = {io.ring for decoded in devices for io in decoded.ios if io.ring} | {
            work.of for work in running if work.work == "io_ring_exit_work"}
        ublk_files = {decoded.ch_file for decoded in devices if decoded.ch_file} | {
            file for _task, _fd, file in self.files.of_kind(*openers.CHAR_OPERATIONS)}
        result = []
        for address in sorted(set(users) | named):
            if not address:
                continue
            ring = rings.safe_decode(kernel, address, users.get(address, []))
            wanted = address in named or any(task.address in servers for task in users.get(address, []))
            if ring:
                ring.fds = fds.get(address, [])
            if ring and (wanted or rings.concerns_ublk(ring, ublk_files) or any(
                    self.files.is_ublk_disk(row.file) for row in ring.files)):
                result.append(ring)
                for task in users.get(address, []):
                    self.roles.add(task.address, "uses a ublk ring")
        return result

    def _tgid(self, address: int) -> int | None:
        task = self.tasks.get(address)
        return task["tgid"] if task else None

    def _standing(self) -> None:
        """Who keeps a task of a server from running: its tracer, or what has its CPU."""
        for address, roles in list(self.roles.of.items()):
            task = self.tasks.get(address)
            if task is None or not roles & {"server", "daemon"}:
                continue
            self.roles.add(self.tasks.tracer(task), "traces the server")
            if task.state == "R" and not task["on_cpu"]:
                for other in self.tasks.running_beside(task):
                    self.roles.add(other.address, "has the server's CPU")

    def _blocked_tasks(self) -> None:
        """Tasks in D that wait for something of the block layer; with them, who holds what they wait for."""
        own = own_pids()
        for task in self.tasks.blocked():
            stack = self.tasks.stack(task)
            if task["tgid"] not in own and any(word in bare(frame) for frame in stack for word in OF_INTEREST):
                self.roles.add(task.address, "blocked")
        for address in list(self.roles.of):
            holder = self.tasks.get(address)
            lock = self.tasks.blocked_on(holder) if holder else None
            if lock:
                self.roles.add(lock.owner, "holds a mutex")

    def _dump(self, devices: list[Device], decoded_rings: list[Ring], commands: list[Command], running: list[Work],
              control_mutex: ControlMutex | None) -> Dump:
        kernel = self.kernel
        tasks = [self.tasks.decode(task, roles) for address, roles in sorted(self.roles.of.items())
                 if (task := self.tasks.get(address))]
        return Dump(
            tool=tool(str(getattr(drgn, "__version__", "unknown"))),
            source=Source(kernel.source, kernel.release, kernel.types_from, "memory", c.TABLES),
            now_ns=kernel.now_ns, devices=devices, rings=decoded_rings, tasks=tasks, control_commands=commands,
            works=running, control_mutex=control_mutex, missing=sorted(kernel.missing), errors=list(kernel.errors))


def take(kernel: Kernel, all_tags: bool = False,
         stacks: dict[str, list[str]] | None = None) -> tuple[Dump, dict[int, list[str]]]:
    """One sample and the stacks that were unwound for it."""
    kernel.errors.clear()
    try:
        sample = Sample(kernel, all_tags, stacks)
        dump = sample.read()
    except Fault as fault:
        raise drgn.FaultError(str(fault), fault.address) from None
    return dump, sample.tasks.stacks
