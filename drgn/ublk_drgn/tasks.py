# SPDX-License-Identifier: MIT
"""Tasks: all of them by one walk over the kernel's lists, in detail those that matter; what each waits for."""

from __future__ import annotations

import os
import typing

from . import constants as c
from . import model_task as model
from .bulk import Columns
from .cgroups import Cgroups
from .document import bare
from .errors import Fault, Implausible, MissingType
from .kernel import Kernel
from .layout import View
from .orc import Unwinder

_TASKS_MAX = 200_000
_PID_MAX = 4 << 20  # PID_MAX_LIMIT, include/linux/threads.h
# Functions that say nothing about what a task waits for.
SCHEDULER = ("__schedule", "schedule", "schedule_timeout", "io_schedule", "schedule_preempt_disabled",
             "__switch_to_asm", "io_schedule_timeout", "schedule_hrtimeout_range", "schedule_hrtimeout_range_clock",
             "__wait_for_common", "wait_for_completion", "wait_for_completion_io", "__mutex_lock",
             "__mutex_lock_slowpath", "mutex_lock", "mutex_lock_killable", "schedule_timeout_uninterruptible",
             "msleep", "do_nanosleep", "rwsem_down_read_slowpath", "rwsem_down_write_slowpath", "down_read",
             "down_write",
             "down_write_killable", "__mutex_lock_killable_slowpath")


class Task:
    """The members that every task is read for."""

    __slots__ = ("address", "row", "comm")

    def __init__(self, address: int, row: dict[str, int | None], comm: str) -> None:
        self.address, self.row, self.comm = address, row, comm

    def __getitem__(self, name: str) -> int:
        return self.row[name] or 0

    @property
    def state(self) -> str:
        return c.task_state(self["state"], self["exit_state"])

    @property
    def dead(self) -> bool:
        return self.state in "ZX"


class TaskTable:
    """All tasks of the kernel, by address; tasks off the lists (dead, still referenced) are added when asked for."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        layout = kernel.layout("task_struct")
        self.columns = Columns(kernel, layout, state=("__state", "state"), exit_state="exit_state", flags="flags",
                               pid="pid", tgid="tgid", files="files", io_uring="io_uring", mm="mm", on_cpu="on_cpu",
                               private="worker_private", blocked_on="blocked_on", blocker="blocker", stack="stack",
                               signal="signal", arrival="sched_info.last_arrival")
        self.cgroups = Cgroups(kernel)
        self.comm_offset = layout.element("comm")[0]
        self.by_address: dict[int, Task] = {}
        self._by_tgid: dict[int, list[Task]] = {}
        kernel.attempt("list of tasks", self._walk)
        self._unwinder: Unwinder | None = None
        self._no_unwinder = ""
        self.stacks: dict[int, list[str]] = {}
        self.recorded_stacks: dict[str, list[str]] | None = None

    def _walk(self) -> None:
        init = self.kernel.variable("init_task")
        if init is None:
            raise MissingType("init_task has no symbol")
        self.get(init.address)
        for node in self.kernel.memory.list_nodes(init.place("tasks"), _TASKS_MAX):
            leader = self.get(self.kernel.container("task_struct", "tasks", node).address)
            if leader is None:
                raise Implausible("it ends in what is no task: it changed while it was read")
            try:
                self._walk_threads(leader)
            except (Fault, Implausible):
                continue

    def _walk_threads(self, leader: Task) -> None:
        head = self.kernel.view("signal_struct", leader["signal"]).place("thread_head")
        thread_node = self.kernel.layout("task_struct").locate("thread_node")[0] // 8
        for node in self.kernel.memory.list_nodes(head, _TASKS_MAX):
            if self.get(node - thread_node) is None:
                return  # another list by now: the process has ended

    def get(self, address: int) -> Task | None:
        """The task at an address, or None if there is none."""
        if address and address not in self.by_address:
            task = self._read(address)
            if task is None:
                return None
            self.by_address[address] = task
            self._by_tgid.setdefault(task["tgid"], []).append(task)
        return self.by_address.get(address)

    def _read(self, address: int) -> Task | None:
        start, end = self.columns.span
        try:
            data = bytes(start) + self.kernel.memory.read(address + start, end - start)
            comm = self.kernel.memory.read(address + self.comm_offset, 16).split(b"\0")[0]
        except Fault:
            return None
        task = Task(address, self.columns.row(data), comm.decode("utf-8", "replace"))
        return task if plausible(task) else None

    def threads(self, tgid: int) -> list[Task]:
        return list(self._by_tgid.get(tgid, ())) if tgid else []

    def blocked(self) -> list[Task]:
        """Tasks in D: uninterruptible, and not idle."""
        return [task for task in self.by_address.values() if task.state == "D"]

    def view(self, task: Task) -> View:
        return self.kernel.view("task_struct", task.address)

    def stack(self, task: Task) -> list[str]:
        """Function names, innermost first; empty for a task that runs or is dead."""
        if task.address not in self.stacks:
            found = self._stack(task)
            # Where the innermost frame is no function the task ran meanwhile (recordings of before have such).
            self.stacks[task.address] = [] if found and found[0].startswith("0x") else found
        return self.stacks[task.address]

    def _stack(self, task: Task) -> list[str]:
        if self.recorded_stacks is not None:
            return self.recorded_stacks.get(f"{task.address:#x}", [])
        if task.dead or task["on_cpu"] or not task["stack"]:
            return []
        if self._unwinder is None and not self._no_unwinder:
            try:
                self._unwinder = Unwinder(self.kernel)
            except (MissingType, Fault, LookupError) as error:
                self._no_unwinder = str(error)
                self.kernel.missing[f"no own stack unwinding: {error}"] = None
        if self._unwinder is None:
            return self._proc_stack(task)
        unwinder = self._unwinder
        frames = self.kernel.attempt(f"stack of task {task['pid']}", lambda: unwinder.frames(self.view(task)), [])
        return [str(self.kernel.symbols.at(pc) or f"{pc:#x}") for pc in frames]

    def _proc_stack(self, task: Task) -> list[str]:
        """What the live kernel says; it leaves out the scheduler's and the locks' functions."""
        if self.kernel.source != "live":
            return []
        try:
            with open(f"/proc/{task['tgid']}/task/{task['pid']}/stack", encoding="ascii", errors="replace") as file:
                lines = [line.split() for line in file]
        except OSError:
            return []
        return [" ".join([line[1].split("/")[0], *line[2:]]) for line in lines if len(line) > 1]

    def decode(self, task: Task, roles: typing.Iterable[str]) -> model.Task:
        stack = self.stack(task)
        return model.Task(
            address=task.address, pid=task["pid"], tgid=task["tgid"], comm=task.comm, state=task.state,
            flags=[name for name in c.TASK_FLAGS.names(task["flags"]) if "?" not in name],
            io_flusher=bool(task["flags"] & c.PF_MEMALLOC_NOIO and task["flags"] & c.PF_LOCAL_THROTTLE),
            on_cpu=bool(task["on_cpu"]), roles=sorted(roles), stack=stack, waits_in=waits_in(stack),
            off_cpu_ns=self.off_cpu_ns(task), blocked_on=self.blocked_on(task),
            standing=self.kernel.added(f"task {task['pid']}", lambda: self.standing(task)) or model.Standing())

    def standing(self, task: Task) -> model.Standing:
        """What decides whether a task can run."""
        view = self.view(task)
        jobctl, signal = view.get("jobctl") or 0, view.follow("signal", "signal_struct")
        return model.Standing(
            cpu=view.first("thread_info.cpu", "cpu"), policy=c.POLICIES.get(view.get("policy") or 0),
            frozen=view.flag("frozen"),
            killed=bool((signal.get("flags") or 0) & c.SIGNAL_GROUP_EXIT) if signal else None,
            stop_signal=(jobctl & c.JOBCTL_STOP_SIGMASK) or None if task.state == "T" else None,
            tracer=self.tracer(task), cgroup=self.cgroups.of(view), quotas=self.cgroups.quotas(view))

    def tracer(self, task: Task) -> int | None:
        """A traced task is the child of its tracer (kernel/ptrace.c, __ptrace_link())."""
        view = self.view(task)
        return (view.get("parent") or None) if view.get("ptrace") else None

    def running_beside(self, task: Task) -> list[Task]:
        """Who has the CPU that a task waits for."""
        cpu = self.view(task).first("thread_info.cpu", "cpu")
        return [other for other in self.by_address.values() if other["on_cpu"] and other is not task
                and self.view(other).first("thread_info.cpu", "cpu") == cpu]

    def off_cpu_ns(self, task: Task) -> int | None:
        """Since the task last got a CPU, on the scheduler's clock, which started with the monotonic one."""
        if task["on_cpu"] or not task["arrival"] or not self.kernel.now_ns:
            return None
        return max(0, self.kernel.now_ns - task["arrival"])

    def blocked_on(self, task: Task) -> model.Lock | None:
        """The mutex that a task waits for, and who has it (blocked_on: Linux 6.12; blocker: hung task detection)."""
        if task.state not in "DS":
            return None
        address = task["blocked_on"]
        if not address and task["blocker"] and task["blocker"] & 3 == 0:
            address = task["blocker"]
        if not address:
            return None
        try:
            owner = c.mutex_task(self.kernel.view("mutex", address).need("owner.counter"))
        except Fault:
            return None
        return model.Lock(address, owner or None)


def plausible(task: Task) -> bool:
    """Whether it can be a task: a pointer out of memory that was freed leads anywhere."""
    kernel_half = 1 << 63
    pointers = all(value == 0 or value >= kernel_half for value in map(task.__getitem__, ("signal", "stack", "mm")))
    named = task["pid"] > 0 or task.comm.startswith("swapper")
    return pointers and named and task["pid"] <= _PID_MAX and task["tgid"] <= _PID_MAX


def waits_in(stack: list[str]) -> str | None:
    """The innermost function that is not the scheduler's."""
    return next((bare(frame) for frame in stack if bare(frame) not in SCHEDULER), None)


def own_pids() -> set[int]:
    return {os.getpid(), os.getppid()}
