# SPDX-License-Identifier: MIT
"""From samples to a verdict: what is confirmed, which finding is whose consequence, who waits for whom."""

from __future__ import annotations

import typing

from . import rules_control, rules_device, rules_io
from .catalogue import Entry
from .confirm import confirm, in_order, instance
from .errors import EXIT_NOTHING, EXIT_PARTIAL, EXIT_STUCK
from .facts import Facts, Limits, in_state
from .model import Dump, Finding, Severity, Verdict
from .model_device import Place
from .wait_graph import WaitGraph


def judge(dump: Dump, earlier: Dump | None = None, limits: Limits = Limits()) -> Dump:
    """The same dump with findings, wait graph and verdict. `earlier` is a sample taken before."""
    in_order(dump)
    if earlier:
        in_order(earlier)
        confirm(dump, earlier)
    graph, found = WaitGraph(dump), evaluate(dump, limits)
    if earlier:
        before = {key(finding, earlier) for finding in evaluate(earlier, limits)}
        # Requests were confirmed one by one; what has none must be found in both samples, of the same device.
        found = [finding for finding in found
                 if finding.tags or key(finding, dump) in before or finding.severity == Severity.INFO]
    graph.settle(found)
    order = list(Severity)
    found.sort(key=lambda finding: (order.index(finding.severity), -1 if finding.device is None else finding.device,
                                    finding.code))
    dump.samples, dump.findings, dump.wait_graph = 2 if earlier else 1, found, list(graph.edges.values())
    dump.verdict = verdict(dump)
    return dump


def only_device(dump: Dump, number: int) -> None:
    """Leaves what concerns one device: it, findings about it or about all, and the tasks of both."""
    dump.devices = [device for device in dump.devices if device.id == number]
    dump.findings = [finding for finding in dump.findings if finding.device in (number, None)]
    dump.control_commands = [command for command in dump.control_commands if command.device == number]
    others = {end for edge in dump.wait_graph for end in (edge.from_, edge.to)
              if end.startswith(("tag:", "server:")) and int(end.split(":")[1].split("/")[0]) != number}
    dump.wait_graph = [edge for edge in dump.wait_graph if edge.from_ not in others and edge.to not in others]
    dump.verdict = verdict(dump)


def key(finding: Finding, dump: Dump) -> tuple[typing.Any, ...]:
    return finding.code, finding.queue, *(instance(device) for device in dump.devices if device.id == finding.device)


def evaluate(dump: Dump, limits: Limits) -> list[Finding]:
    facts = Facts(dump, limits)
    found = [*rules_io.findings(facts), *rules_device.findings(facts), *rules_control.findings(facts)]
    explained = {(finding.device, finding.queue, tag) for finding in found if finding.severity.stuck
                 for tag in finding.tags}
    return [*found, *unexplained(facts, explained)]


def unexplained(facts: Facts, explained: set[tuple[int | None, int | None, int]]) -> typing.Iterator[Finding]:
    """A request that is old and that no rule has: better said than passed over."""
    for device in facts.devices:
        if device.state in ("QUIESCED", "FAIL_IO") or device.booleans.canceling:
            continue
        tags = [io.tag for queue in device.queues for io in in_state(queue.ios, Place.UNKNOWN, Place.NO_COMMAND)
                if not {(device.id, queue.id, io.tag), (device.id, None, io.tag)} & explained
                and io.request and io.request.state == "IN_FLIGHT" and (io.age_ns or 0) >= facts.limits.stuck_ns]
        if tags:
            yield Entry.UNKNOWN.found(["see the io commands in the dump"], device=device.id, tags=tags)


def verdict(dump: Dump) -> Verdict:
    """One line, and the exit code."""
    stuck = [finding for finding in dump.findings if finding.severity.stuck]
    slow = [finding for finding in dump.findings if finding.severity == Severity.SLOW]
    if stuck:
        causes = [finding for finding in stuck if finding.severity != Severity.CONSEQUENCE]
        state, line = "stuck", titles(causes or stuck)
    elif slow:
        state, line = "slow", f"nothing is stuck; something is slow: {titles(slow)}"
    else:
        state, line = "nothing stuck", "nothing is stuck"
    partial = bool(dump.errors)
    return Verdict(state, line, partial, EXIT_STUCK if stuck else EXIT_PARTIAL if partial else EXIT_NOTHING)


def titles(findings: list[Finding]) -> str:
    return "; ".join(dict.fromkeys((f"device {row.device}: " if row.device is not None else "") + row.text
                                   for row in findings))
