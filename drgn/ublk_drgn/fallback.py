# SPDX-License-Identifier: MIT
"""What can be said without the kernel's memory: /sys, debugfs and /proc, with less detail, and saying so.

Only files whose reading takes no lock that a hung device can hold. GET_DEV_INFO would not block either, but needs
io_uring, which a locked-down machine may not allow.
"""

from __future__ import annotations

import datetime
import pathlib
import re

from . import SCHEMA_VERSION, VERSION
from .block import Json

SYS_BLOCK = pathlib.Path("/sys/block")
DEBUGFS = pathlib.Path("/sys/kernel/debug/block")
_FIELD = re.compile(r"\.(\w+)=([^,}]*)")


def text(path: pathlib.Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def without_memory(reason: str, only: int | None) -> Json | None:
    """A document with the little that is known, or None if not even that can be read."""
    disks = sorted(SYS_BLOCK.glob("ublkb[0-9]*"))
    if not disks and not pathlib.Path("/sys/class/ublk-char").exists():
        return None
    devices = [one(disk) for disk in disks if only is None or disk.name == f"ublkb{only}"]
    if all(device["queues"] is None for device in devices):
        return None  # without debugfs there is nothing to say about requests
    return {
        "schema": "ublk-dump", "schema_version": SCHEMA_VERSION,
        "tool": {"name": "ublk-dump", "version": VERSION, "drgn": "unused"},
        "source": {"kind": "live", "kernel": (text(pathlib.Path("/proc/sys/kernel/osrelease")) or "unknown"),
                   "types": "none", "access": "sysfs and debugfs", "constants_read_in": {}},
        "taken_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "now_ns": 0,
        "samples": 1, "devices": [], "block_debugfs": devices, "rings": [], "tasks": [], "control_commands": [],
        "works": [], "control_mutex": None, "findings": [], "wait_graph": [],
        "missing": ["io commands, rings, tasks and openers: the kernel's memory cannot be read"], "errors": [reason],
        "verdict": {"state": "unknown", "line": "no verdict without the kernel's memory: "
                    + "; ".join(sentence(device) for device in devices), "partial": True, "exit_code": 4},
    }


def one(disk: pathlib.Path) -> Json:
    folder = DEBUGFS / disk.name
    queues = None
    if folder.exists():
        queues = [{"name": hctx.name, "busy": requests(hctx / "busy"), "state": text(hctx / "state")}
                  for hctx in sorted(folder.glob("hctx[0-9]*"))]
    return {"name": disk.name, "inflight": text(disk / "inflight"), "state": text(folder / "state"), "queues": queues,
            "requeued": requests(folder / "requeue_list")}


def requests(path: pathlib.Path) -> list[dict[str, str]]:
    return [dict(_FIELD.findall(line)) for line in (text(path) or "").splitlines()]


def sentence(device: Json) -> str:
    busy = sum(len(queue["busy"]) for queue in device["queues"] or ())
    return f"{device['name']} has {busy} request(s) taken and {len(device['requeued'])} requeued"
