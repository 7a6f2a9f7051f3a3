# SPDX-License-Identifier: MIT
"""From samples to a verdict: what is confirmed, which finding is whose consequence, who waits for whom."""

from __future__ import annotations

import typing

from . import catalogue as cat
from . import rules_control, rules_device, rules_io
from .document import Json
from .facts import Facts, Finding, Limits


def judge(document: Json, earlier: Json | None = None, limits: Limits = Limits()) -> Json:
    """The document with findings, wait graph and verdict. `earlier` is a sample taken before."""
    if earlier:
        confirm(document, earlier)
    found = evaluate(document, limits)
    if earlier:
        before = {key(finding) for finding in evaluate(earlier, limits)}
        # Requests were confirmed one by one; what has none must be found in both samples.
        found = [finding for finding in found
                 if finding.tags or key(finding) in before or finding.severity == cat.INFO]
    settle(found)
    found.sort(key=lambda finding: (cat.ORDER.index(finding.severity), -1 if finding.device is None else
                                    finding.device, finding.code))
    document["samples"] = 2 if earlier else 1
    document["findings"] = [finding.json() for finding in found]
    document["wait_graph"] = wait_graph(document)
    document["verdict"] = verdict(document)
    return document


def only_device(document: Json, number: int) -> None:
    """Leaves what concerns one device: it, findings about it or about all, and the tasks of both."""
    document["devices"] = [device for device in document["devices"] if device["id"] == number]
    document["findings"] = [row for row in document["findings"] if row["device"] in (number, None)]
    document["control_commands"] = [row for row in document["control_commands"] if row["device"] == number]
    others = {edge[end] for edge in document["wait_graph"] for end in ("from", "to")
              if edge[end].startswith(("tag:", "server:")) and int(edge[end].split(":")[1].split("/")[0]) != number}
    document["wait_graph"] = [edge for edge in document["wait_graph"]
                              if edge["from"] not in others and edge["to"] not in others]
    document["verdict"] = verdict(document)


def key(finding: Finding) -> tuple[str, int | None, int | None]:
    return finding.code, finding.device, finding.queue


def evaluate(document: Json, limits: Limits) -> list[Finding]:
    facts = Facts(document, limits)
    found = [*rules_io.findings(facts), *rules_device.findings(facts), *rules_control.findings(facts)]
    explained = {(finding.device, tag) for finding in found if finding.severity in cat.STUCK for tag in finding.tags}
    found += unexplained(facts, explained)
    return found


def unexplained(facts: Facts, explained: set[tuple[int | None, int]]) -> typing.Iterator[Finding]:
    """A request that is old and that no rule has: better said than passed over."""
    quiet = {finding for finding in ("QUIESCED", "FAIL_IO")}
    for device in facts.devices:
        if device["state"] in quiet or device["booleans"]["canceling"]:
            continue
        tags = [io["tag"] for queue in device["queues"] for io in queue["ios"]
                if io["place"] in ("unknown", "no_command") and io.get("confirmed") is not False
                and (device["id"], io["tag"]) not in explained and (io["request"] or {}).get("state") == "IN_FLIGHT"
                and ((io["request"] or {}).get("age_ns") or 0) >= facts.limits.stuck_ns]
        if tags:
            yield Finding("UNKNOWN", cat.HANG, device["id"], tags=tags, evidence=["see the io commands in the dump"])


def identity(io: Json) -> tuple[typing.Any, ...]:
    request = io["request"] or {}
    return (request.get("address"), request.get("tag"), request.get("start_time_ns"), io["flags_raw"], io["place"],
            request.get("state"), io["ref"])


def confirm(document: Json, earlier: Json) -> None:
    """Marks what is the same in both samples. A live snapshot is not atomic, and work in progress is not stuck."""
    before = {(device["id"], queue["id"], io["tag"]): identity(io) for device in earlier["devices"]
              for queue in device["queues"] for io in queue["ios"]}
    for device in document["devices"]:
        for queue in device["queues"]:
            for io in queue["ios"]:
                io["confirmed"] = before.get((device["id"], queue["id"], io["tag"])) == identity(io)
    places = {ring["address"]: (ring["cached_sq_head"], ring["cached_cq_tail"]) for ring in earlier["rings"]}
    for ring in document["rings"]:
        ring["progress"] = places.get(ring["address"]) not in (None, (ring["cached_sq_head"], ring["cached_cq_tail"]))
    for part, fields in (("control_commands", ("command", "device", "worker", "issuer")), ("works", ("work", "of"))):
        known = {tuple(row[field] for field in fields) for row in earlier[part]}
        for row in document[part]:
            row["confirmed"] = tuple(row[field] for field in fields) in known


def settle(found: list[Finding]) -> None:
    """A consequence without a cause in sight is work in progress."""
    stuck = {finding.device for finding in found if finding.severity in (cat.DEFECT, cat.HANG)}
    for finding in found:
        if finding.severity == cat.CONSEQUENCE and not stuck:
            finding.severity = cat.SLOW
            finding.text = cat.CATALOGUE[finding.code].title + " (no cause is stuck: in progress)"


def wait_graph(document: Json) -> list[Json]:
    """Edges 'from waits for to'. Nodes are task:PID, device:N, tag:N/Q/T and server:N."""
    pids = {task["address"]: f"task:{task['pid']}" for task in document["tasks"]}
    edges: dict[tuple[str, str], str] = {}

    def edge(start: str | None, end: str | None, why: str) -> None:
        if start and end and start != end:
            edges.setdefault((start, end), why)

    for device in document["devices"]:
        for queue in device["queues"]:
            for io in queue["ios"]:
                io_edges(edge, pids, device, queue, io)
    for task in document["tasks"]:
        if task["blocked_on"] and task["blocked_on"]["owner"]:
            edge(pids[task["address"]], pids.get(task["blocked_on"]["owner"]), "mutex")
    for command in document["control_commands"]:
        edge(pids.get(command["issuer"]), pids.get(command["worker"] or ""), command["command"])
        for device in document["devices"]:
            if device["id"] == command["device"]:
                command_edges(edge, pids, document, device, command)
    return [{"from": start, "to": end, "why": why} for (start, end), why in edges.items()]


Edge = typing.Callable[[str | None, str | None, str], None]


def io_edges(edge: Edge, pids: dict[str, str], device: Json, queue: Json, io: Json) -> None:
    node = f"tag:{device['id']}/{queue['id']}/{io['tag']}"
    client = ((io["request"] or {}).get("client") or {}).get("task")
    taken = io["place"] in ("owned_by_server", "dispatched", "requeued")
    if client and taken:
        edge(pids.get(client), node, "I/O")
    if io["place"] in ("owned_by_server", "dispatched"):
        why = "commit" if io["place"] == "owned_by_server" else "task work"
        edge(node, pids.get(io["task"] or "", f"server:{device['id']}"), why)
    elif io["place"] == "requeued":
        edge(node, f"server:{device['id']}", "recovery")


def command_edges(edge: Edge, pids: dict[str, str], document: Json, device: Json, command: Json) -> None:
    worker = next((task for task in document["tasks"] if task["address"] == command["worker"]), None)
    if worker is None or worker["blocked_on"]:
        return
    node = pids[worker["address"]]
    functions = {frame.split("+")[0].split(".")[0] for frame in worker["stack"]}
    if functions & {"blk_mq_freeze_queue_wait", "ublk_stop_dev_unlocked", "ublk_stop_dev", "del_gendisk"}:
        for queue in device["queues"]:
            for io in queue["ios"]:
                if io["place"] in ("owned_by_server", "dispatched", "requeued"):
                    edge(node, f"tag:{device['id']}/{queue['id']}/{io['tag']}", "freeze")
    elif command["command"] in ("START_DEV", "END_USER_RECOVERY"):
        edge(node, f"server:{device['id']}", "fetch of all tags")
    elif command["command"] in ("DEL_DEV",):
        for row in [*(device["openers"] or {}).get("char", ()), *(device["openers"] or {}).get("block", ())]:
            edge(node, pids.get(row.get("task") or "", f"task:{row['pid']}" if row.get("pid") else None), "close")


def verdict(document: Json) -> Json:
    """One line, and the exit code."""
    stuck = [row for row in document["findings"] if row["severity"] in cat.STUCK]
    if stuck:
        state = "stuck"
        line = "; ".join(dict.fromkeys((f"device {row['device']}: " if row["device"] is not None else "") + row["title"]
                                       for row in stuck if row["severity"] != cat.CONSEQUENCE or len(stuck) == 1))
    elif any(row["severity"] == cat.SLOW for row in document["findings"]):
        state, line = "slow", "nothing is stuck; something is slow"
    else:
        state, line = "nothing stuck", "nothing is stuck"
    partial = bool(document["errors"])
    return {"state": state, "line": line, "partial": partial,
            "exit_code": 1 if stuck else 4 if partial else 0}
