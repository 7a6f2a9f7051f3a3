# SPDX-License-Identifier: MIT
"""One sample: devices with all that belongs to them, as the JSON document that everything else works on."""

from __future__ import annotations

import datetime

import drgn

from . import SCHEMA_VERSION, VERSION, control, device, openers, rings, works
from . import constants as c
from .document import Json, bare, hexadecimal
from .errors import Fault
from .kernel import Kernel
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

    def add(self, address: str | int | None, role: str) -> None:
        number = int(address, 16) if isinstance(address, str) else address
        if number and self.tasks.get(number):
            self.of.setdefault(number, set()).add(role)


class Sample:
    """Reads the kernel once."""

    def __init__(self, kernel: Kernel, all_tags: bool, stacks: dict[str, list[str]] | None = None) -> None:
        self.kernel, self.all_tags = kernel, all_tags
        self.tasks = TaskTable(kernel)
        self.tasks.recorded_stacks = stacks
        self.roles = Roles(self.tasks)
        self.files = openers.Files(kernel, self.tasks)

    def read(self) -> Json:
        kernel = self.kernel
        views = kernel.attempt("list of devices", lambda: device.all_devices(kernel), [])
        pairs = [(view, kernel.attempt("device", lambda: device.decode(kernel, view, self.all_tags)))
                 for view in views]
        devices = [(view, decoded) for view, decoded in pairs if decoded]
        self._device_roles([decoded for _view, decoded in devices])
        commands = kernel.attempt("control commands", lambda: control.in_flight(kernel, self.tasks, self.files), [])
        for command in commands:
            self.roles.add(command["worker"], "control worker")
            self.roles.add(command["issuer"], "control issuer")
        running = kernel.attempt("workqueue workers", lambda: works.running(kernel, self.tasks), [])
        for work in running:
            self.roles.add(work["task"], work["work"])
        decoded_rings = self._rings([decoded for _view, decoded in devices], running)
        for view, decoded in devices:
            held = bool(decoded["ch_file"]) or "OPEN" in decoded["state_bits"]
            decoded["openers"] = kernel.attempt("openers", lambda: openers.of_device(
                kernel, self.files, view, decoded_rings, held), None)
        self._blocked_tasks()
        control_mutex = kernel.attempt("ublk_ctl_mutex", lambda: device.control_mutex(kernel))
        self.roles.add((control_mutex or {}).get("owner"), "holds ublk_ctl_mutex")
        for _view, decoded in devices:
            self.roles.add(decoded["mutex_owner"], "holds a device's mutex")
            self.roles.add((decoded["disk"] or {}).get("open_mutex_owner"), "holds open_mutex")
        return self._document([decoded for _view, decoded in devices], decoded_rings, commands, running,
                              control_mutex)

    def _device_roles(self, devices: list[Json]) -> None:
        for decoded in devices:
            for tgid in {decoded["ublksrv_tgid"] or 0, decoded["info"].get("ublksrv_pid") or 0}:
                for task in self.tasks.threads(tgid) if tgid > 0 else ():
                    self.roles.add(task.address, "server")
            for queue in decoded["queues"]:
                for io in queue["ios"]:
                    self.roles.add(io["task"], "daemon")
                    self.roles.add(((io["request"] or {}).get("client") or {}).get("task"), "client")
                self.roles.add(queue["daemon"], "daemon")

    def _rings(self, devices: list[Json], running: list[Json]) -> list[Json]:
        """Rings of servers, of io commands, of workers that tear rings down, and any other that knows ublk."""
        kernel = self.kernel
        users = kernel.attempt("rings", lambda: rings.users(kernel, self.tasks), {})
        fds: dict[int, list[Json]] = {}
        for task, fd, file in self.files.of_kind("io_uring_fops"):
            address = (self.files.row(file) or {}).get("private") or 0
            users.setdefault(address, [])
            fds.setdefault(address, []).append({"pid": task["tgid"], "comm": task.comm, "fd": fd})
        servers = {address for address, roles in self.roles.of.items() if roles & {"server", "daemon"}}
        named = {int(io["ring"], 16) for decoded in devices for queue in decoded["queues"] for io in queue["ios"]
                 if io["ring"]} | {int(work["of"], 16) for work in running if work["work"] == "io_ring_exit_work"}
        ublk_files = {decoded["ch_file"] for decoded in devices if decoded["ch_file"]} | {
            hexadecimal(file) or "" for _task, _fd, file in self.files.of_kind(*openers.CHAR_OPERATIONS)}
        result = []
        for address in sorted(set(users) | named):
            if not address:
                continue
            ring = rings.safe_decode(kernel, address, users.get(address, []))
            wanted = address in named or any(task.address in servers for task in users.get(address, []))
            if ring:
                ring["fds"] = fds.get(address, [])
            if ring and (wanted or rings.concerns_ublk(ring, ublk_files)):
                result.append(ring)
                for task in users.get(address, []):
                    self.roles.add(task.address, "uses a ublk ring")
        return result

    def _blocked_tasks(self) -> None:
        """Tasks in D that wait for something of the block layer; with them, who holds what they wait for."""
        own = own_pids()
        for task in self.tasks.blocked():
            stack = self.tasks.stack(task)
            if task["tgid"] not in own and any(word in bare(frame) for frame in stack for word in OF_INTEREST):
                self.roles.add(task.address, "blocked")
        for address in list(self.roles.of):
            task = self.tasks.get(address)
            lock = self.tasks.blocked_on(task) if task else None
            if lock and lock["owner"]:
                self.roles.add(lock["owner"], "holds a mutex")

    def _document(self, devices: list[Json], decoded_rings: list[Json], commands: list[Json], running: list[Json],
                  control_mutex: Json | None) -> Json:
        kernel = self.kernel
        tasks = [self.tasks.json(task, roles) for address, roles in sorted(self.roles.of.items())
                 if (task := self._task(address))]
        return {
            "schema": "ublk-dump", "schema_version": SCHEMA_VERSION,
            "tool": {"name": "ublk-dump", "version": VERSION, "drgn": drgn_version()},
            "source": {"kind": kernel.source, "kernel": kernel.release, "types": kernel.types_from,
                       "access": "memory", "constants_read_in": c.TABLES},
            "taken_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "now_ns": kernel.now_ns, "devices": sorted(devices, key=lambda decoded: int(decoded["id"])),
            "rings": decoded_rings, "tasks": sorted(tasks, key=lambda task: int(task["pid"])),
            "control_commands": commands, "works": running, "control_mutex": control_mutex,
            "missing": sorted(kernel.missing), "errors": list(kernel.errors),
        }

    def _task(self, address: int) -> Task | None:
        return self.tasks.get(address)


def drgn_version() -> str:
    return str(getattr(drgn, "__version__", "unknown"))


def take(kernel: Kernel, all_tags: bool = False,
         stacks: dict[str, list[str]] | None = None) -> tuple[Json, dict[int, list[str]]]:
    """One sample and the stacks that were unwound for it."""
    kernel.errors.clear()
    try:
        sample = Sample(kernel, all_tags, stacks)
        document = sample.read()
    except Fault as fault:
        raise drgn.FaultError(str(fault), fault.address) from None
    return document, sample.tasks.stacks


__all__ = ["Sample", "take"]
