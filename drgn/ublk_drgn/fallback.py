# SPDX-License-Identifier: MIT
"""What can be said without the kernel's memory: /sys, debugfs and /proc, with less detail, and saying so.

Only files whose reading takes no lock that a hung device can hold. GET_DEV_INFO would not block either, but needs
io_uring, which a locked-down machine may not allow. No bpftrace: a kernel that is locked down against /proc/kcore is so
against BPF programs that read memory and against tracefs too (LOCKDOWN_KCORE, LOCKDOWN_BPF_READ_KERNEL and
LOCKDOWN_TRACEFS are all of the confidentiality level, include/linux/security.h).
"""

from __future__ import annotations

import pathlib
import re
import typing

from .document import Json
from .model import Dump, Source, Verdict, tool
from .processes import concerned, remark
from .small_files import text

SYS_BLOCK = pathlib.Path("/sys/block")
DEBUGFS = pathlib.Path("/sys/kernel/debug/block")
_FIELD = re.compile(r"\.(\w+)=([^,}]*)")


def without_memory(reason: str, only: int | None) -> Dump | None:
    """A dump with the little that is known, or None if not even that can be read."""
    disks = sorted(SYS_BLOCK.glob("ublkb[0-9]*"))
    if not disks and not pathlib.Path("/sys/class/ublk-char").exists():
        return None
    devices = [one(disk) for disk in disks if only is None or disk.name == f"ublkb{only}"]
    processes = concerned(only)
    if all(device["queues"] is None for device in devices) and not processes:
        return None
    kernel = text(pathlib.Path("/proc/sys/kernel/osrelease")) or "unknown"
    said = [*map(sentence, devices), *(line for process in processes for line in remark(process))]
    return Dump(
        tool=tool("unused"), source=Source("live", kernel, "none", "sysfs, debugfs and /proc", {}), now_ns=0,
        block_debugfs=devices, processes=processes, errors=[reason],
        missing=["io commands, buffers, the rings of others, mounts: the kernel's memory cannot be read"],
        verdict=Verdict("unknown", f"no verdict without the kernel's memory: {'; '.join(said)}", True, 4))


def one(disk: pathlib.Path) -> Json:
    folder = DEBUGFS / disk.name
    queues: list[Json] | None = [{"name": hctx.name, "busy": requests(hctx / "busy"), "state": text(hctx / "state")}
                                 for hctx in sorted(folder.glob("hctx[0-9]*"))]
    if not queues or any(queue["busy"] is None for queue in queues):
        queues = None
    return {"name": disk.name, "inflight": " ".join((text(disk / "inflight") or "?").split()),
            "state": text(folder / "state"), "queues": queues, "requeued": requests(folder / "requeue_list")}


def requests(path: pathlib.Path) -> list[dict[str, str]] | None:
    """None if the file cannot be read: debugfs may be absent, or restricted by lockdown."""
    content = text(path)
    return None if content is None else [dict(_FIELD.findall(line)) for line in content.splitlines()]


def sentence(device: Json) -> str:
    if device["queues"] is None:
        counts = [int(word) for word in device["inflight"].split() if word.isdigit()]
        return f"{device['name']} has {sum(counts)} I/O(s) in flight, and its requests cannot be read"
    busy = sum(len(queue["busy"]) for queue in device["queues"])
    return f"{device['name']} has {busy} request(s) taken and {len(device['requeued'] or ())} requeued"


def render(dump: Dump) -> typing.Iterator[str]:
    """The lines for people, between the verdict and what is missing."""
    for device in dump.block_debugfs or ():
        yield (f"{device['name']}: {device['inflight']} read(s) and write(s) in flight, queue "
               f"{device['state'] or 'and requests cannot be read'}")
        for queue in device["queues"] or ():
            yield from (f"  {queue['name']}: tag {row.get('tag')} {row.get('op')} {row.get('state')}"
                        for row in queue["busy"][:16])
            if len(queue["busy"]) > 16:
                yield f"  {queue['name']}: and {len(queue['busy']) - 16} more"
        yield from (f"  requeued: tag {row.get('tag')} {row.get('op')}" for row in (device["requeued"] or ())[:16])
    for process in dump.processes or ():
        yield f"{process['comm']} (pid {process['pid']}) has {', '.join(process['opens'])} open"
        for thread in process["threads"]:
            stack = " < ".join(frame.split("+")[0] for frame in thread["stack"][:8])
            yield f"  {thread['state']} {thread['comm']} ({thread['tid']}): {stack or 'no stack: it runs or is dead'}"
        for ring in process["rings"]:
            yield f"  ring fd {ring['fd']}: " + ", ".join(f"{name} {value}" for name, value in ring["fields"].items())
