# SPDX-License-Identifier: MIT
"""Processes that have a ublk device open, by /proc alone: states, stacks, and the ends of their rings' queues."""

from __future__ import annotations

import os
import pathlib
import re
import typing

from .document import Json
from .small_files import text

PROC = pathlib.Path("/proc")
CGROUPS = pathlib.Path("/sys/fs/cgroup")
_DEVICE = re.compile(r"/dev/ublk[cb](\d+)(p\d+)?$|/dev/ublk-control$")
# io_uring_show_fdinfo() of io_uring/fdinfo.c; heads and tails say what is not submitted and not reaped.
_RING_FIELDS = ("SqHead", "SqTail", "CachedSqHead", "CqHead", "CqTail", "CachedCqTail", "UserFiles", "UserBufs")
_THREADS_MAX = 256


def concerned(only: int | None) -> list[Json]:
    """Those that have a device open; of one device, if `only` is given."""
    found = []
    for folder in sorted(PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        links = descriptors(folder)
        opens = sorted({path for path in links.values() if (match := _DEVICE.match(path))
                        and (only is None or match[1] in (None, str(only)))})
        if opens and opens != ["/dev/ublk-control"] and folder.name != str(os.getpid()):
            found.append({"pid": int(folder.name), "comm": text(folder / "comm") or "?", "opens": opens,
                          "threads": threads(folder), "rings": rings(folder, links),
                          "frozen_cgroup": frozen_cgroup(folder)})
    return found


def frozen_cgroup(folder: pathlib.Path) -> str | None:
    """Its cgroup of v2, if that is frozen: the threads are in state S then."""
    path = next((line[3:] for line in (text(folder / "cgroup") or "").splitlines() if line.startswith("0::")), None)
    events = text(CGROUPS / path.lstrip("/") / "cgroup.events") if path else None
    return path if events and "frozen 1" in events.splitlines() else None


def descriptors(folder: pathlib.Path) -> dict[str, str]:
    """Where each descriptor of a process leads; empty for one that has ended."""
    links = {}
    try:
        for link in (folder / "fd").iterdir():
            links[link.name] = os.readlink(link)
    except OSError:
        pass
    return links


def threads(folder: pathlib.Path) -> list[Json]:
    """With io-wq's workers, which carry control commands out and stand in the same folder."""
    found = []
    for task in sorted((folder / "task").glob("[0-9]*"), key=lambda path: int(path.name))[:_THREADS_MAX]:
        status = text(task / "status") or ""
        state = re.search(r"^State:\s*(\w)", status, re.MULTILINE)
        stack = [line.split()[-1].split("/")[0] for line in (text(task / "stack") or "").splitlines()]
        found.append({"tid": int(task.name), "comm": text(task / "comm") or "?", "state": state[1] if state else "?",
                      "stack": stack})
    return found


def rings(folder: pathlib.Path, links: dict[str, str]) -> list[Json]:
    found = []
    for fd, path in sorted(links.items(), key=lambda entry: int(entry[0])):
        if path == "anon_inode:[io_uring]":
            rows = re.findall(r"^(\w+):\s*(\d+)\s*$", text(folder / "fdinfo" / fd) or "", re.MULTILINE)
            found.append({"fd": int(fd), "fields": {name: int(value) for name, value in rows if name in _RING_FIELDS}})
    return found


def remark(process: Json) -> typing.Iterator[str]:
    """What stands out; none of it is a verdict."""
    who = f"{process['comm']} (pid {process['pid']}), which has {process['opens'][0]} open,"
    states = {thread["state"] for thread in process["threads"]}
    if states and states <= set("TtZX"):
        yield f"{who} is {'stopped' if states & set('Tt') else 'dead'}"
    if process["frozen_cgroup"]:
        yield f"{who} is frozen by its cgroup {process['frozen_cgroup']}"
    for thread in process["threads"]:
        if thread["state"] == "D":
            yield f"{who} waits in {next((frame.split('+')[0] for frame in thread['stack']), '?')}"
            break
    for ring in process["rings"]:
        fields = ring["fields"]
        if (count := fields.get("CqTail", 0) - fields.get("CqHead", 0)) > 0:
            yield f"{who} has not taken {count} completion(s) out of ring fd {ring['fd']}"
        if (count := fields.get("SqTail", 0) - fields.get("SqHead", 0)) > 0:
            yield f"{who} has not submitted {count} SQE(s) of ring fd {ring['fd']}"
