# SPDX-License-Identifier: MIT
"""ublk control commands that are being executed: they run in io-wq workers of the task that issued them."""

from __future__ import annotations

import typing

from . import constants as c
from .errors import Fault
from .kernel import Kernel
from .layout import View
from .model_task import Command, Workers
from .openers import Files
from .tasks import Task, TaskTable

_WORKERS_MAX = 10_000


def in_flight(kernel: Kernel, tasks: TaskTable, files: Files) -> list[Command]:
    """Control commands with their worker. A command that runs in its issuer's own context is not among them."""
    result: list[Command] = []
    seen: set[int] = set()
    for task in list(tasks.by_address.values()):
        if not task["io_uring"] or task["flags"] & c.PF_IO_WORKER or task["io_uring"] in seen:
            continue
        seen.add(task["io_uring"])
        result += kernel.attempt(f"io-wq of task {task['pid']}", lambda: of_task(kernel, tasks, files, task), [])
    return result


def of_task(kernel: Kernel, tasks: TaskTable, files: Files, task: Task) -> list[Command]:
    wq = kernel.view("io_uring_task", task["io_uring"]).follow("io_wq", "io_wq")
    if wq is None:
        return []
    result = []
    for account in accounts(wq):
        pool: Workers | None = kernel.added("workers of io-wq", lambda: Workers(account.get("nr_workers"),
                                                                                account.get("max_workers")))
        found: list[tuple[View | None, int]] = [(worker, work) for worker in workers(kernel, account)
                                                if (work := worker.get("cur_work"))]
        found += [(None, work) for work in queued(kernel, account)]
        for worker, work in found:
            command = decode(kernel, files, work)
            if command:
                thread = tasks.get(worker.get("task") or 0) if worker else None
                result.append(Command(*command, thread.address if thread else None, task.address, worker is None, pool))
    return result


def accounts(wq: View) -> list[View]:
    """Bound and unbound work; the lists moved into io_wq_acct in Linux 6.16."""
    offset, type_, length = wq.layout.element("acct")
    layout = wq.kernel.layout_of(type_, "struct io_wq_acct")
    return [View(wq.kernel, layout, wq.address + offset + layout.size * index) for index in range(length or 0)]


def workers(kernel: Kernel, account: View) -> typing.Iterator[View]:
    if account.has("all_list"):
        for node in kernel.memory.list_nodes(account.place("all_list"), _WORKERS_MAX):
            yield kernel.container("io_worker", "all_list", node)


def queued(kernel: Kernel, account: View) -> typing.Iterator[int]:
    """Work that no worker has taken: a command that is never picked up shows no driver function anywhere."""
    node_offset = kernel.layout("io_wq_work").locate("list")[0] // 8
    for node in kernel.memory.chain(account.get("work_list.first") or 0, _WORKERS_MAX):
        yield node - node_offset


def decode(kernel: Kernel, files: Files, work: int) -> tuple[str, int | None, int | None] | None:
    """Name, device and ring of the control command in a piece of work, or None if it is something else."""
    try:
        request = kernel.container("io_kiocb", "work", work)
        if files.kind(request.need("file")) != "ublk_ctl_fops":
            return None
        command = kernel.view("io_uring_cmd", request.address)
        number = command.need("cmd_op") & 0xFF
        header = kernel.view("ublksrv_ctrl_cmd", sqe_payload(kernel, command))
        return (c.CONTROL_COMMANDS.get(number, f"unknown ({number:#x})"), header.get("dev_id"), request.get("ctx"))
    except Fault:
        return None


def sqe_payload(kernel: Kernel, command: View) -> int:
    """Address of the command's own bytes in its SQE (io_uring copies the SQE when it punts the command)."""
    return command.need("sqe") + kernel.layout("io_uring_sqe").locate("cmd")[0] // 8
