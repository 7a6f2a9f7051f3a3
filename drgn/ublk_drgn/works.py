# SPDX-License-Identifier: MIT
"""What workqueue workers are doing: only the ones that tear down rings and ublk devices are of interest."""

from __future__ import annotations

from . import constants as c
from .errors import Fault
from .kernel import Kernel
from .model_task import Work
from .tasks import Task, TaskTable

# Work function, and the structure and member that the work is part of.
WORKS = {
    "io_ring_exit_work": ("io_ring_ctx", "exit_work"),
    "io_tctx_fallback_work": ("io_uring_task", "fallback_work"),
    "ublk_ch_release_work_fn": ("ublk_device", "exit_work.work"),
    "ublk_partition_scan_work": ("ublk_device", "partition_scan_work"),
}


def running(kernel: Kernel, tasks: TaskTable) -> list[Work]:
    """Workers inside one of WORKS, with the address of the ring or device that the work belongs to."""
    result = []
    for task in list(tasks.by_address.values()):
        if task["flags"] & c.PF_WQ_WORKER and task["private"]:
            work = kernel.attempt(f"work of task {task['pid']}", lambda: of_worker(kernel, task))
            if work:
                result.append(work)
    return result


def of_worker(kernel: Kernel, task: Task) -> Work | None:
    try:
        worker = kernel.view("worker", kernel.view("kthread", task["private"]).need("data"))
        symbol = kernel.symbol(worker.get("current_func"))
        if symbol is None or symbol.name.split(".")[0] not in WORKS:
            return None
        name = symbol.name.split(".")[0]
        struct, member = WORKS[name]
        owner = kernel.container(struct, member, worker.need("current_work")).address
    except Fault:
        return None
    return Work(name, task.address, owner, task.state)
