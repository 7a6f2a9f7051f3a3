# SPDX-License-Identifier: MIT
"""Who has a ublk device open: file descriptors, memory mappings, rings' registered files, mounts."""

from __future__ import annotations

import typing

from .bulk import Columns, scattered
from .errors import Fault, Implausible
from .kernel import Kernel
from .memory import bitmap
from .model_device import Mount, Opener, Openers, RegisteredFile
from .model_task import Ring
from .tasks import Task, TaskTable
from .xarray import maple_pointers

_FDS_MAX = 1 << 20
_SPACES_MAX = 4000
CHAR_OPERATIONS = ("ublk_ch_fops", "ublk_ch_batch_io_fops")


class Files:
    """Every open file of every process that has to do with ublk, found in one pass over the fd tables."""

    def __init__(self, kernel: Kernel, tasks: TaskTable) -> None:
        self.kernel, self.tasks = kernel, tasks
        self.columns = Columns(kernel, kernel.layout("file"), operations="f_op", mapping="f_mapping",
                               private="private_data", inode="f_inode")
        wanted = {name: kernel.symbols.address(name) for name in
                  (*CHAR_OPERATIONS, "ublk_ctl_fops", "io_uring_fops", "def_blk_fops")}
        self.operations = {address: name for name, address in wanted.items() if address}
        self.known: dict[int, dict[str, int | None]] = {}
        self.fds: list[tuple[Task, int, int]] = []  # task, fd, file
        self._mappings: dict[int, list[Task]] | None = None
        kernel.attempt("file descriptor tables", self._walk)

    def kind(self, file: int) -> str | None:
        """The name of a file's operations if it is one of those looked for."""
        row = self.row(file)
        return self.operations.get(row["operations"] or 0) if row else None

    def row(self, file: int) -> dict[str, int | None] | None:
        if file not in self.known:
            for address, row in scattered(self.kernel, self.columns, [file]):
                if row is None:
                    return None
                self.known[address] = row
        return self.known[file]

    def _walk(self) -> None:
        seen: set[int] = set()
        for task in sorted(self.tasks.by_address.values(), key=lambda task: task["pid"]):
            table = task["files"]
            if not table or table in seen:
                continue
            seen.add(table)
            for fd, file in self.kernel.attempt(f"files of task {task['pid']}", lambda: self._table(table), []):
                if self.kind(file):
                    self.fds.append((task, fd, file))

    def _table(self, files: int) -> list[tuple[int, int]]:
        fdt = self.kernel.view("files_struct", files).follow("fdt", "fdtable")
        if fdt is None:
            return []
        size = fdt.need("max_fds")
        if size % 64 or size > _FDS_MAX:  # alloc_fdtable() in fs/file.c rounds up to a power of two
            raise Implausible(f"it claims {size} descriptors: torn, or larger than this program reads")
        opened = bitmap(self.kernel.memory.read(fdt.need("open_fds"), (size + 7) // 8))
        pointers = self.kernel.memory.words(fdt.need("fd"), size)
        return [(fd, pointers[fd]) for fd in opened if pointers[fd]]

    def of_kind(self, *kinds: str) -> typing.Iterator[tuple[Task, int, int]]:
        return (entry for entry in self.fds if self.kind(entry[2]) in kinds)

    def char_files(self, device: int) -> list[Opener]:
        """File descriptors of /dev/ublkcN; its private_data is the device."""
        return [opener(task, fd, file) for task, fd, file in self.of_kind(*CHAR_OPERATIONS)
                if self.is_char_of(file, device)]

    def block_files(self, device: int) -> list[Opener]:
        """File descriptors of /dev/ublkbN and its partitions."""
        found = list(self.of_kind("def_blk_fops"))
        mine = [entry for entry in found if self.disk_owner_of_file(entry[2]) == device]
        others: dict[int, int] = {}
        for task, _fd, file in found if mine else ():
            others[task["tgid"]] = others.get(task["tgid"], 0) + (self.disk_owner_of_file(file) != device)
        return [opener(task, fd, file, others[task["tgid"]]) for task, fd, file in mine]

    def is_ublk_disk(self, file: int) -> bool:
        return self.kind(file) == "def_blk_fops" and self.disk_owner_of_file(file) is not None

    def disk_owner_of_file(self, file: int) -> int | None:
        """The mapping of an open block device belongs to the inode beside its struct block_device."""
        mapping = (self.row(file) or {}).get("mapping")
        if not mapping:
            return None
        try:
            inode = self.kernel.view("address_space", mapping).need("host")
            return disk_owner(self.kernel, self.kernel.container("bdev_inode", "vfs_inode", inode).place("bdev"))
        except Fault:
            return None

    def is_block_of(self, file: int, device: int) -> bool:
        return self.kind(file) == "def_blk_fops" and self.disk_owner_of_file(file) == device

    def is_char_of(self, file: int, device: int) -> bool:
        return self.kind(file) in CHAR_OPERATIONS and (self.row(file) or {}).get("private") == device

    def mapped_by(self, device: int) -> list[Opener]:
        """Processes that have the io descriptors mapped: a mapping keeps the file open after close()."""
        if self._mappings is None:  # one walk for all devices
            self._mappings = self._all_mappings()
        return [opener(task, None, None) for task in self._mappings.get(device, ())]

    def _all_mappings(self) -> dict[int, list[Task]]:
        """By device, the first task of each address space that has its char device mapped."""
        result: dict[int, list[Task]] = {}
        seen: set[int] = set()
        for task in sorted(self.tasks.by_address.values(), key=lambda task: task["pid"]):
            space = task["mm"]
            if not space or space in seen or len(seen) > _SPACES_MAX:
                continue
            seen.add(space)
            for device in self.kernel.attempt(f"mappings of task {task['pid']}", lambda: self._maps(space), set()):
                result.setdefault(device, []).append(task)
        return result

    def _maps(self, space: int) -> set[int]:
        root = self.kernel.view("mm_struct", space).get("mm_mt.ma_root")
        layout = self.kernel.layout("vm_area_struct")
        columns = Columns(self.kernel, layout, start="vm_start", end="vm_end", file="vm_file", space="vm_mm")
        devices = set()
        for _address, row in scattered(self.kernel, columns, maple_pointers(self.kernel, root or 0)):
            # Stale slots: a real area is of this space and is not empty.
            if row and row["space"] == space and (row["start"] or 0) < (row["end"] or 0) and row["file"] \
                    and self.kind(row["file"]) in CHAR_OPERATIONS:
                devices.add((self.row(row["file"]) or {}).get("private") or 0)
        return devices


def opener(task: Task, fd: int | None, file: int | None, others: int | None = None) -> Opener:
    """By a descriptor, or without one by a mapping."""
    return Opener("fd" if file else "mmap", task["tgid"], task.comm, fd, file, task.address, task.state, others)


def of_device(kernel: Kernel, files: Files, device: int, rings: typing.Iterable[Ring], held: bool) -> Openers:
    """`held`: the char device is open, so a holder without a descriptor is looked for too."""
    char, block = files.char_files(device), files.block_files(device)
    mapped = held and not any(row.state not in "ZX" for row in char)
    slots = [(row.file, RegisteredFile("registered file", ring.address, row.slot, row.file, ring.users))
             for ring in rings for row in ring.files]
    return Openers(
        [*char, *(row for file, row in slots if files.is_char_of(file, device)),
         *(files.mapped_by(device) if mapped else ())],
        [*block, *(row for file, row in slots if files.is_block_of(file, device))],
        kernel.attempt("mounts", lambda: mounts(kernel, device), []))


def disk_owner(kernel: Kernel, block_device: int) -> int | None:
    """The ublk device of a block device, also when its disk is deleted and only openers keep it."""
    disk = kernel.view("block_device", block_device).follow("bd_disk", "gendisk")
    if disk is None or not kernel.is_symbol(disk.get("fops"), "ub_fops"):
        return None
    return disk.get("private_data")


def mounts(kernel: Kernel, device: int) -> list[Mount]:
    """File systems on the device and its partitions, mounted anywhere (also in other mount namespaces)."""
    head = kernel.symbols.address("super_blocks")
    if head is None:
        kernel.note_missing("variable", "super_blocks")
        return []
    result = []
    for node in kernel.memory.list_nodes(head):
        block = kernel.container("super_block", "s_list", node)
        try:
            bdev = block.get("s_bdev")
            if bdev and disk_owner(kernel, bdev) == device:
                kind = block.follow("s_type", "file_system_type")
                name = kind.get("name") if kind else None
                result.append(Mount("mount", block.text("s_id"), kernel.memory.string(name) if name else None))
        except Fault:
            continue
    return result
