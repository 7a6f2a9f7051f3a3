# SPDX-License-Identifier: MIT
"""Why a task of the server does not run: a signal, a tracer, a freezer, a CPU quota, or others on its CPU."""

from __future__ import annotations

import signal
import typing

from .catalogue import Entry
from .facts import Facts
from .model import Finding, Severity
from .model_task import Quota, Task

_HALTED = "TtF"


def halted(task: Task) -> bool:
    """Stopped, traced or frozen. The freezer of cgroup v2 leaves a task in state S (kernel/signal.c,
    do_freezer_trap()); one whose cgroup nobody freezes any more is on its way."""
    if task.state in _HALTED:
        return True
    return task.state == "S" and bool(task.standing.frozen) and (not task.standing.cgroup or bool(task.frozen_by))


def stopped(facts: Facts, daemons: list[Task]) -> Finding | None:
    """If none of these tasks can run until somebody lets it."""
    if not daemons or not all(halted(task) for task in daemons):
        return None
    return halt(facts, daemons, "daemon")


def halt(facts: Facts, tasks: list[Task], role: str) -> Finding:
    """`tasks` are halted, all of them."""
    frozen = all(task.state == "F" or task.state == "S" for task in tasks)
    advice = list(dict.fromkeys(line for task in tasks for line in remedies(facts, task)))
    return (Entry.SERVER_FROZEN if frozen else Entry.SERVER_STOPPED).found([
        f"{role} {task} is {'; '.join(causes(facts, task))}" for task in tasks],
        next_step="; ".join(advice))


def causes(facts: Facts, task: Task) -> list[str]:
    """What keeps it, all of it: a stopped task of a frozen cgroup needs both undone."""
    words = []
    if task.state == "T":
        number = task.standing.stop_signal
        words.append("stopped" + (f" by {signal_name(number)}" if number else ""))
    if task.state == "t":
        tracer = facts.task(task.standing.tracer)
        words.append("traced" + (f" by {tracer}" if tracer else ""))
    words += [f"frozen by cgroup {path}" for path in task.frozen_by]
    if task.state == "F":
        v1 = freezer_v1(task)
        words.append(f"frozen by the freezer cgroup {v1} (cgroup v1)" if v1 else
                     "frozen by the system (suspend, or a freezer cgroup of v1)")
    elif task.state == "S" and not task.frozen_by:
        words.append("frozen by its cgroup")
    return words


def freezer_v1(task: Task) -> str | None:
    return task.standing.cgroup.freezer_v1 if task.standing.cgroup else None


def remedies(facts: Facts, task: Task) -> typing.Iterator[str]:
    if task.state == "T":
        yield f"kill -CONT {task.tgid}"
    if task.state == "t":
        tracer = facts.task(task.standing.tracer)
        yield "let the debugger go on or detach" + (f" (pid {tracer.pid})" if tracer else "")
    for path in task.frozen_by:
        yield (f"thaw the cgroup, by who froze it (docker unpause, systemctl thaw) or by 'echo 0 > "
               f"/sys/fs/cgroup{path.rstrip('/')}/cgroup.freeze'")
    if task.state == "F":
        v1 = freezer_v1(task)
        yield f"echo THAWED to freezer.state of the cgroup {v1}" if v1 else "end the suspend, or thaw its cgroup"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def without_cpu(facts: Facts, tasks: list[Task], severity: Severity) -> Finding | None:
    """Tasks that want to run and may not, or cannot: not a hang before --slow, since they do get on."""
    ready = [task for task in tasks if task.state == "R"]
    waiting = [task for task in ready if not task.on_cpu]
    limited = [(task, quota) for task in ready for quota in task.quotas if throttled(task, quota)]
    if limited:
        return Entry.SERVER_THROTTLED.found(dict.fromkeys(
            f"{task} waits for CPU time: {quota_words(quota)}" for task, quota in limited), severity)
    starved = [task for task in waiting if (task.off_cpu_ns or 0) >= facts.limits.stuck_ns
               and not facts.progress(task)]
    if starved:
        return Entry.SERVER_WITHOUT_CPU.found([
            f"{task} is ready to run and has not been on a CPU for "
            f"{(task.off_cpu_ns or 0) / 1e9:.1f} s{occupant(facts, task)}" for task in starved], severity)
    return None


def throttled(task: Task, quota: Quota) -> bool:
    """Now, or between the samples: then it may have a CPU at this moment."""
    return bool(quota.throttled_now and not task.on_cpu) or bool(quota.throttled_more)


def quota_words(quota: Quota) -> str:
    share = f"{quota.quota_ns / quota.period_ns:.3g} CPUs" if quota.period_ns else "its quota"
    return (f"cgroup {quota.path} has {share} ({quota.quota_ns / 1e6:.1f} ms in {quota.period_ns / 1e6:.1f} ms), "
            f"throttled in {quota.nr_throttled} of {quota.nr_periods} periods")


def occupant(facts: Facts, task: Task) -> str:
    cpu = task.standing.cpu
    if cpu is None:
        return ""
    other = next((row for row in facts.tasks.values() if row.on_cpu and row.standing.cpu == cpu), None)
    return f"; on its CPU {cpu} runs " + (
        f"{other.comm} (pid {other.pid}, {other.standing.policy or '?'})" if other else "something else")
