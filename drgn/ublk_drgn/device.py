# SPDX-License-Identifier: MIT
"""ublk devices. With queue_io.py the only module that knows the driver's structures (drivers/block/ublk_drv.c)."""

from __future__ import annotations

import functools

from . import block
from . import constants as c
from .document import Json
from .errors import Implausible
from .kernel import Kernel
from .layout import View
from .model_device import Device, DeviceBooleans, Disk, Queue
from .model_task import ControlMutex
from .queue_io import QueueReader
from .xarray import entries

_INFO = ("nr_hw_queues", "queue_depth", "max_io_buf_bytes", "dev_id", "ublksrv_pid", "owner_uid", "owner_gid",
         "io_desc_size")
_PARAMS = {
    "basic": ("attrs", "logical_bs_shift", "physical_bs_shift", "io_opt_shift", "io_min_shift", "max_sectors",
              "chunk_sectors", "dev_sectors", "virt_boundary_mask"),
    "discard": ("discard_alignment", "discard_granularity", "max_discard_sectors", "max_write_zeroes_sectors",
                "max_discard_segments"),
    "zoned": ("max_open_zones", "max_active_zones", "max_zone_append_sectors"),
    "dma": ("alignment",), "seg": ("seg_boundary_mask", "max_segment_size", "max_segments"),
    "integrity": ("flags", "metadata_size", "tag_size", "csum_type", "interval_exp", "pi_offset"),
}
_QUEUES_MAX = 4096  # UBLK_MAX_NR_QUEUES
_PARAM_BIT = {"basic": 0, "discard": 1, "zoned": 3, "dma": 4, "seg": 5, "integrity": 6}


def all_devices(kernel: Kernel) -> list[View]:
    """Every device in the driver's IDR, also one that is deleted and still referenced."""
    index = kernel.variable("ublk_index_idr")
    assert index is not None, "attach has looked"
    found = entries(kernel, index.place("idr_rt"))
    return [kernel.view("ublk_device", address) for _number, address in found]


def number(device: View) -> int:
    return device.need("ub_number")


def decode(kernel: Kernel, device: View, all_tags: bool) -> Device:
    """One device, without rings, tasks and openers (see dump.py)."""
    info = {name: device.get(f"dev_info.{name}") for name in _INFO if device.has(f"dev_info.{name}")}
    flags, state = device.get("dev_info.flags"), device.get("dev_info.state")
    bits, gendisk = device.get("state"), device.follow("ub_disk", "gendisk")
    disk = kernel.attempt("disk", functools.partial(block.disk, kernel, gendisk)) if gendisk else None
    return Device(
        id=number(device), address=device.address,
        state=c.DEVICE_STATES.get(state if state is not None else -1, f"unknown ({state})"),
        state_bits=c.DEVICE_STATE_BITS.names(bits), state_bits_raw=bits,
        flags=c.DEVICE_FLAGS.names(flags), flags_raw=flags, info=info,
        booleans=DeviceBooleans(*map(device.flag, ("canceling", "unprivileged_daemons", "block_open"))),
        nr_queue_ready=device.get("nr_queue_ready"), ublksrv_tgid=device.get("ublksrv_tgid"),
        ch_file=device.get("ch_file"),
        exit_work_pending=block.work_pending(device, "exit_work.work.data"),
        partition_scan_pending=block.work_pending(device, "partition_scan_work.data"),
        mutex_owner=block.mutex_owner(device, "mutex"), cancel_mutex_owner=block.mutex_owner(device, "cancel_mutex"),
        params=kernel.attempt("parameters", lambda: params(device)),
        references=device.get("cdev_dev.kobj.kref.refcount.refs.counter"), disk=disk,
        queues=decode_queues(kernel, device, info.get("nr_hw_queues") or 0, disk, all_tags))


def params(device: View) -> Json:
    types = device.need("params.types")
    result: Json = {"types": c.PARAM_TYPES.names(types)}
    for part, names in _PARAMS.items():
        if types >> _PARAM_BIT[part] & 1:
            result[part] = {name: device.get(f"params.{part}.{name}") for name in names
                            if device.has(f"params.{part}.{name}")}
    return result


def queue_addresses(kernel: Kernel, device: View, count: int) -> list[int]:
    """Linux 7.0 keeps pointers in queues[]; before, __queues is one allocation of queue_size each."""
    if device.has("queues"):
        return kernel.memory.words(device.place("queues"), count)
    start, size = device.need("__queues"), device.need("queue_size")
    return [start + size * index for index in range(count)]


def tags_of(kernel: Kernel, device: View, count: int) -> list[View | None]:
    pointers = kernel.memory.words(device.need("tag_set.tags"), count) if device.get("tag_set.tags") else []
    pointers += [0] * (count - len(pointers))
    return [kernel.view("blk_mq_tags", address) if address else None for address in pointers]


def hctxs_of(kernel: Kernel, device: View, count: int) -> list[View | None]:
    gendisk = device.follow("ub_disk", "gendisk")
    queue = gendisk.follow("queue", "request_queue") if gendisk else None
    if queue is None or not queue.has("queue_hw_ctx"):
        return [None] * count
    found = kernel.memory.words(queue.need("queue_hw_ctx"), count)
    return [kernel.view("blk_mq_hw_ctx", address) if address else None for address in found]


def decode_queues(kernel: Kernel, device: View, count: int, disk: Disk | None, all_tags: bool) -> list[Queue]:
    if count > _QUEUES_MAX:
        raise Implausible(f"it claims {count} queues")
    addresses = kernel.attempt("queues", lambda: queue_addresses(kernel, device, count), [])
    tags = kernel.attempt("tag sets", lambda: tags_of(kernel, device, count), [None] * count)
    hctxs = kernel.attempt("hardware queues", lambda: hctxs_of(kernel, device, count), [None] * count)
    requeued = set(disk.queue.requeued if disk and disk.queue else ())
    reader = QueueReader(kernel, device.get("dev_info.flags") or 0, requeued, all_tags)
    result = []
    for index, address in enumerate(addresses):
        if not address:
            continue
        queue = kernel.attempt(f"queue {index} of device {number(device)}", lambda: reader.decode(
            kernel.view("ublk_queue", address), tags[index], hctxs[index]))
        if queue:
            result.append(queue)
    return result


def control_mutex(kernel: Kernel) -> ControlMutex | None:
    """ublk_ctl_mutex: ADD_DEV and DEL_DEV of all devices."""
    address = kernel.symbols.address("ublk_ctl_mutex")
    if address is None:
        kernel.note_missing("variable", "ublk_ctl_mutex")
        return None
    view = kernel.view("mutex", address)
    word = view.need("owner.counter")
    return ControlMutex(address, c.mutex_task(word) or None, bool(word & 1))
