# SPDX-License-Identifier: MIT
"""Which processes serve a device.

`ublksrv_pid` is what the server said of itself. Until Linux 6.17 the driver keeps it as it came, so from within a PID
namespace it names a stranger, or a kernel thread. The tasks of the io commands, and who opened the char device, are the
kernel's own pointers and numbers of the initial namespace.
"""

from __future__ import annotations

import typing

from .model_device import Device


def claimed(device: Device) -> int | None:
    """The pid that the driver gives for the server; not to be believed by itself."""
    pid = device.info.get("ublksrv_pid")
    return pid if pid and pid > 0 else None


def daemons(device: Device) -> set[int]:
    """Addresses of the tasks that the io commands belong to (of the queue before Linux 6.16)."""
    return {task for task in [*(io.task for queue in device.queues for io in queue.ios),
                              *(queue.daemon for queue in device.queues)] if task}


def pids(device: Device, tgid_of: typing.Callable[[int], int | None], holders: set[int]) -> set[int]:
    """Thread groups of the server; empty: unknown. `holders` have the char device open."""
    opener = device.ublksrv_tgid
    found = {tgid for task in daemons(device) if (tgid := tgid_of(task))}
    if opener and opener > 0:
        found.add(opener)
    said = claimed(device)
    if said and said in holders:
        found.add(said)
    return found or holders


def words(device: Device) -> str:
    """For people."""
    said, known = claimed(device), device.server_pids
    if known is None:  # a document without it
        return f"server pid {said}" if said else "no server"
    if not known:
        return f"server pid unknown ({said} by its own account)" if said else "no server"
    text = f"server pid {', '.join(map(str, known))}"
    return text if not said or said in known else f"{text} ({said} in its own PID namespace)"
