# SPDX-License-Identifier: MIT
"""Who uses a ublk disk from inside the kernel: no process has a descriptor then, and only the count of openers tells.

Disks above a disk (device-mapper, md, bcache, drbd) link themselves to it (block/holder.c). Others keep a struct file:
loop, nvmet and LIO are found by their own tables, swap by swap_info.
"""

from __future__ import annotations

import dataclasses
import functools
import typing

from .errors import Fault, MissingType
from .kernel import Kernel
from .layout import View
from .model_device import KernelUser
from .openers import Files, disk_owner
from .xarray import entries

# Modules whose types are wanted, where they are modules and loaded.
MODULES = ("loop", "nvmet", "target_core_mod", "target_core_iblock")
_BLOCK_DEVICES_MAX = 100_000
_SWAP_FILES_MAX = 32
_SWP_USED = 1
Found = typing.Iterator[tuple[int, KernelUser]]


@dataclasses.dataclass(frozen=True)
class Part:
    """A block device of a ublk disk: the whole disk or a partition."""

    view: View
    device: int


class KernelUsers:
    """Looks once for all devices."""

    def __init__(self, kernel: Kernel, files: Files) -> None:
        self.kernel, self.files = kernel, files
        self.parts: list[Part] = []
        self.openers: dict[int, int] = {}
        self.disks: dict[int, View] = {}
        self.of: dict[int, list[KernelUser]] = {}
        self._safely("block devices", self._block_devices)
        for what, look in (("disks above ublk disks", self._disks_above), ("swap", self._swap),
                           ("loop devices", self._loops), ("LIO", self._iblocks), ("nvmet", self._nvmet)):
            for device, row in self._safely(what, look):
                self.of.setdefault(device, []).append(row)

    def _safely(self, what: str, look: typing.Callable[[], Found]) -> list[tuple[int, KernelUser]]:
        """A subsystem whose types or symbols are not at hand is not looked into, which is no error."""
        def found() -> list[tuple[int, KernelUser]]:
            try:
                return list(look())
            except MissingType as error:
                self.kernel.missing[f"{what} as users of a disk: {error}"] = None
                return []
        return list(self.kernel.attempt(what, found, []))

    def _block_devices(self) -> Found:
        address = self.kernel.symbols.address("blockdev_superblock")
        if address is None:
            self.kernel.note_missing("variable", "blockdev_superblock")
            return
        superblock = self.kernel.view("super_block", self.kernel.memory.word(address))
        for node in self.kernel.memory.list_nodes(superblock.place("s_inodes"), _BLOCK_DEVICES_MAX):
            try:
                inode = self.kernel.container("inode", "i_sb_list", node).address
                self._block_device(self.kernel.container("bdev_inode", "vfs_inode", inode).inside("bdev"))
            except Fault:
                continue
        yield from ()

    def _block_device(self, view: View) -> None:
        disk = view.follow("bd_disk", "gendisk")
        if disk is None:
            return
        self.disks[disk.address] = disk
        device = disk_owner(self.kernel, view.address)
        if device:
            self.parts.append(Part(view, device))
            if disk.get("part0") == view.address:  # counts those of partitions, too
                self.openers[device] = view.get("bd_openers.counter") or 0

    def _disks_above(self) -> Found:
        """By the slave's kobject, which holders keep also when the disk is deleted and its folder is gone."""
        below = self._holder_folders()
        for disk in self.disks.values() if below else ():
            if not disk.has("slave_bdevs"):
                return
            # What cannot be read of one disk (it may be going) hides no other.
            yield from self.kernel.attempt("disks below a disk", functools.partial(self._below, disk, below), [])

    def _holder_folders(self) -> dict[int, Part]:
        """Block devices by their kobject "holders". del_gendisk() lets go of it and leaves the pointer, so that a
        deleted disk may point to what has become another disk's: whose it is says its parent."""
        return {folder: part for part in self.parts if (folder := part.view.get("bd_holder_dir"))
                and self.kernel.view("kobject", folder).get("parent") == part.view.place("bd_device.kobj")}

    def _below(self, disk: View, parts: dict[int, Part]) -> list[tuple[int, KernelUser]]:
        nodes = self.kernel.memory.list_nodes(disk.place("slave_bdevs"), 10_000)
        folders = [self.kernel.container("bd_holder_disk", "list", node).get("holder_dir") or 0 for node in nodes]
        return [(parts[folder].device, above(disk.text("disk_name") or "?")) for folder in folders if folder in parts]

    def _swap(self) -> Found:
        table, number = self.kernel.symbols.address("swap_info"), self.kernel.symbols.address("nr_swapfiles")
        if table is None or number is None:
            return
        count = int.from_bytes(self.kernel.memory.read(number, 4), "little")
        for address in self.kernel.memory.words(table, min(count, _SWAP_FILES_MAX)):
            area = self.kernel.view("swap_info_struct", address)
            bdev = area.get("bdev")
            device = disk_owner(self.kernel, bdev) if bdev and (area.get("flags") or 0) & _SWP_USED else None
            if device:
                name = self._disk_name(bdev or 0)
                yield device, KernelUser("swap", f"swap on {name}", f"swapoff /dev/{name}")

    def _disk_name(self, bdev: int) -> str:
        disk = self.kernel.view("block_device", bdev).follow("bd_disk", "gendisk")
        return (disk.text("disk_name") if disk else None) or "?"

    def _in_idr(self, variable: str) -> typing.Iterator[tuple[int, int]]:
        address = self.kernel.symbols.address(variable)
        if address:
            yield from entries(self.kernel, address + self.kernel.layout("idr").locate("idr_rt")[0] // 8)

    def _of_file(self, file: int | None, row: KernelUser) -> Found:
        device = self.files.disk_owner_of_file(file) if file and self.files.kind(file) == "def_blk_fops" else None
        if device:
            yield device, row

    def _loops(self) -> Found:
        for number, address in self._in_idr("loop_index_idr"):
            yield from self._of_file(self.kernel.view("loop_device", address).get("lo_backing_file"), KernelUser(
                "loop", f"loop{number}", f"losetup -d /dev/loop{number}"))

    def _iblocks(self) -> Found:
        if self.kernel.symbols.address("devices_idr"):
            self.kernel.layout("iblock_dev")  # without the backend there is none
        for _number, address in self._in_idr("devices_idr"):
            backend = self.kernel.view("se_device", address).follow("transport", "target_backend_ops")
            if backend and backend.text("name") == "iblock":
                file = self.kernel.container("iblock_dev", "dev", address).get("ibd_bdev_file")
                yield from self._of_file(file, KernelUser("claim", "an iblock backstore of LIO",
                                                          "delete the backstore with targetcli"))

    def _nvmet(self) -> Found:
        root = self.kernel.symbols.address("nvmet_subsystems_group")
        if root is None:
            return
        group = self.kernel.view("config_group", root)
        for node in self.kernel.memory.list_nodes(group.place("cg_children"), 10_000):
            item = self.kernel.container("config_item", "ci_entry", node).address
            subsystem = self.kernel.container("nvmet_subsys", "group.cg_item", item)
            name = subsystem.get("subsysnqn")
            for number, address in entries(self.kernel, subsystem.place("namespaces")):
                yield from self._of_file(self.kernel.view("nvmet_ns", address).get("bdev_file"), KernelUser(
                    "claim", f"namespace {number} of nvmet subsystem "
                             f"{self.kernel.memory.string(name) if name else '?'}",
                    f"disable namespace {number} with nvmetcli, or by its 'enable' in configfs"))

    def of_device(self, device: int, files: int, mounts: int) -> list[KernelUser]:
        """`files`: open files that processes have of it; `mounts`: file systems. What is left is said, too."""
        rows = list(self.of.get(device, ()))
        if not mounts and any(self.kernel.is_symbol_at(part.view.get("bd_holder_ops"), "fs_holder_ops")
                              for part in self.parts if part.device == device):
            rows.append(KernelUser(
                "file system", "a file system whose main device is another (a journal, one of several disks)",
                "unmount it (findmnt, btrfs filesystem show)"))
        left = self.openers.get(device, 0) - files - mounts - len(rows)
        if left > 0:
            rows.append(KernelUser(
                "unknown", f"{left} opener(s) that are neither a process with a descriptor nor known here",
                "look for mappings of the disk, and for drivers that open block devices"))
        return rows


def above(name: str) -> KernelUser:
    if name.startswith("dm-"):
        return KernelUser("holder", f"{name} (device-mapper)", f"'dmsetup info /dev/{name}' names it: close what uses "
                                                               "it and remove it (lvchange -an, cryptsetup close)")
    if name.startswith("md"):
        return KernelUser("holder", f"{name} (RAID)", f"mdadm --stop /dev/{name}")
    return KernelUser("holder", name, f"stop what /dev/{name} is")
