# SPDX-License-Identifier: MIT
"""The cgroup of a task: its path, who froze it, and the CPU quotas that it is under."""

from __future__ import annotations

import dataclasses
import functools
import typing

from .kernel import Kernel
from .layout import View
from .model_task import Cgroup, Quota

_DEPTH_MAX = 256
_FREEZING_SELF = 2  # CGROUP_FREEZING_SELF of kernel/cgroup/legacy_freezer.c
_NO_QUOTA = (1 << 64) - 1  # RUNTIME_INF of kernel/sched/sched.h


class Cgroups:
    """Each set of cgroups, and each task group, is read once a sample."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._sets: dict[int, Cgroup | None] = {}
        self._quotas: dict[int, list[Quota]] = {}

    def of(self, task: View) -> Cgroup | None:
        address = task.get("cgroups")
        if not address:
            return None
        if address not in self._sets:
            self._sets[address] = self.kernel.attempt("cgroup of a task", functools.partial(self._set, address))
        return self._sets[address]

    def _set(self, address: int) -> Cgroup | None:
        css_set = self.kernel.view("css_set", address)
        group = css_set.follow("dfl_cgrp", "cgroup")
        if group is None:
            return None
        frozen = [self.path(above) for above in ancestors(group) if above.get("freezer.freeze")] \
            if group.has("freezer.freeze") else []
        return Cgroup(self.path(group), frozen, self._freezer_v1(css_set))

    def path(self, group: View) -> str:
        """The names of the kernfs nodes up to the root, which has an empty one."""
        names: list[str] = []
        node = group.follow("kn", "kernfs_node")
        while node is not None and len(names) < _DEPTH_MAX:
            parent = node.first("__parent", "parent")  # renamed in Linux 6.15
            if not parent:
                break
            names.append(self.kernel.memory.string(node.need("name")))
            node = self.kernel.view("kernfs_node", parent)
        return "/" + "/".join(reversed(names))

    def _freezer_v1(self, css_set: View) -> str | None:
        """The freezer of cgroup v1 that asked for it; None if none did, or the kernel has no such freezer."""
        index = next((value for value, name in self.kernel.enumeration("freezer_cgrp_id").items()
                      if name == "freezer_cgrp_id"), None)
        if index is None:
            return None
        css = self.kernel.memory.word(css_set.place("subsys") + 8 * index)
        for _level in range(_DEPTH_MAX):
            if not css:
                return None
            freezer = self.kernel.container("freezer", "css", css)
            if (freezer.get("state") or 0) & _FREEZING_SELF:
                group = freezer.follow("css.cgroup", "cgroup")
                return self.path(group) if group else None
            css = freezer.get("css.parent") or 0
        return None

    def quotas(self, task: View) -> list[Quota] | None:
        """Of the task's group and of those above it that have one (cpu.max of cgroup v2, cpu.cfs_quota_us of v1)."""
        address = task.get("sched_task_group")
        if not address:
            return None
        if address not in self._quotas:
            self._quotas[address] = self.kernel.attempt("CPU quota of a task", functools.partial(self._limits, address),
                                                        [])
        return [dataclasses.replace(quota) for quota in self._quotas[address]]

    def _limits(self, address: int) -> list[Quota]:
        found: list[Quota] = []
        for _level in range(_DEPTH_MAX):
            if not address:
                break
            group = self.kernel.view("task_group", address)
            quota = group.get("cfs_bandwidth.quota")
            if quota and quota != _NO_QUOTA:
                cgroup = group.follow("css.cgroup", "cgroup")
                head = group.place("cfs_bandwidth.throttled_cfs_rq")
                found.append(Quota(self.path(cgroup) if cgroup else "?", quota, group.get("cfs_bandwidth.period") or 0,
                                   group.get("cfs_bandwidth.nr_periods"), group.get("cfs_bandwidth.nr_throttled"),
                                   throttled_now=self.kernel.memory.word(head) != head))
            address = group.get("parent") or 0
        return found


def ancestors(group: View) -> typing.Iterator[View]:
    """The cgroup and all above it."""
    found: View | None = group
    for _level in range(_DEPTH_MAX):
        if found is None:
            return
        yield found
        css = found.follow("self.parent", "cgroup_subsys_state")
        found = css.follow("cgroup", "cgroup") if css else None
