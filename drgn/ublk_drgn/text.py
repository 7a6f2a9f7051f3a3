# SPDX-License-Identifier: MIT
"""The dump for people: verdict first, then each device, then the tasks that matter."""

from __future__ import annotations

import typing

from . import fallback
from .document import Json, bare
from .facts import IDLE_WAITS

_TAGS_SHOWN = 12
_PLACES = {"waiting": "waiting for I/O", "owned_by_server": "at the server", "dispatched": "on the way to the server",
           "requeued": "requeued", "canceled": "canceled", "no_command": "without a command", "unknown": "unknown"}


def seconds(value_ns: int | None) -> str:
    return "?" if value_ns is None else f"{value_ns / 1e9:.1f} s"


def tag_list(tags: typing.Sequence[int]) -> str:
    """Runs of tags as ranges."""
    runs: list[list[int]] = []
    for tag in sorted(tags):
        if runs and tag == runs[-1][1] + 1:
            runs[-1][1] = tag
        else:
            runs.append([tag, tag])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    more = len(shown) - _TAGS_SHOWN
    return ",".join(shown[:_TAGS_SHOWN]) + (f" and {more} more runs" if more > 0 else "")


def render(document: Json) -> str:
    lines = [*header(document), *findings(document)]
    for device in document["devices"]:
        lines += ["", *device_lines(document, device)]
    if document["source"]["access"] != "memory":
        lines += ["", *fallback.render(document)]
    lines += command_lines(document)
    lines += task_lines(document)
    lines += graph_lines(document)
    if document["missing"] or document["errors"]:
        lines += ["", "Not in this dump:"]
        lines += [f"  {line}" for line in [*document["missing"], *document["errors"]]]
    return "\n".join(lines) + "\n"


def header(document: Json) -> list[str]:
    source = document["source"]
    return [f"ublk-dump: {source['kernel']}, {source['kind']}, types from {source['types']}, "
            f"{document['samples']} sample(s), {len(document['devices'])} device(s)",
            f"verdict: {document['verdict']['line']}"
            + (" (partial: see the end)" if document["verdict"]["partial"] else "")]


def findings(document: Json) -> list[str]:
    lines: list[str] = []
    for finding in document["findings"]:
        where = [f"device {finding['device']}"] if finding["device"] is not None else []
        if finding["queue"] is not None:
            where.append(f"queue {finding['queue']}")
        if finding["tags"]:
            where.append(f"tag(s) {tag_list(finding['tags'])}")
        since = f", for {seconds(finding['since_ns'])}" if finding["since_ns"] is not None else ""
        lines += ["", f"{finding['severity'].upper()} {finding['code']} ({finding['catalogue']})"
                      f" {' '.join(where)}{since}",
                  f"  {finding['text']}; it is the turn of: {finding['owner']}"]
        lines += [f"  - {line}" for line in finding["evidence"]]
        if finding["ruled_out"]:
            lines.append(f"  ruled out: {'; '.join(finding['ruled_out'])}")
        lines.append(f"  do: {finding['next_step']}")
    return lines


def device_lines(document: Json, device: Json) -> list[str]:
    info = device["info"]
    booleans = [name for name, value in device["booleans"].items() if value]
    lines = [f"device {device['id']}: {device['state']}, state bits {'|'.join(device['state_bits']) or '0'}, server pid "
             f"{info.get('ublksrv_pid')}, {info.get('nr_hw_queues')} queue(s) of depth {info.get('queue_depth')}",
             f"  flags {'|'.join(device['flags'])}",
             f"  {' '.join(booleans) or 'no boolean set'}; {device['nr_queue_ready']} queue(s) ready; char file "
             f"{'open' if device['ch_file'] else 'closed'}"]
    if device["disk"]:
        queue = device["disk"].get("queue") or {}
        lines.append(f"  {device['disk']['name']}: {device['disk']['openers']} opener(s), freeze depth "
                     f"{queue.get('freeze_depth')}, quiesce depth {queue.get('quiesce_depth')}, "
                     f"queue flags {'|'.join(queue.get('flags', ()))}, requeue list {len(queue.get('requeued', ()))}")
    else:
        lines.append("  no disk")
    for queue in device["queues"]:
        lines += queue_lines(queue)
    lines += opener_lines(document, device)
    return lines


def queue_lines(queue: Json) -> list[str]:
    booleans = " ".join(name for name, value in queue["booleans"].items() if value)
    counts = ", ".join(f"{value} {_PLACES[name]}" for name, value in queue["summary"].items()
                       if value and name in _PLACES)
    lines = [f"  queue {queue['id']}: {queue['nr_io_ready']}/{queue['depth']} fetched, {queue['tags_busy']} tag(s) taken; "
             f"{counts}" + (f"; {booleans}" if booleans else "")]
    if queue["fifo"] is not None:
        commands = queue["fetch_commands"] or []
        lines.append(f"    fifo: {queue['fifo']['count']} tag(s); {len(commands)} fetch command(s), "
                     f"{'one' if any(row['active'] for row in commands) else 'none'} active")
    groups: dict[tuple[typing.Any, ...], list[Json]] = {}
    for io in queue["ios"]:
        request = io["request"] or {}
        taken = io["place"] in ("owned_by_server", "dispatched", "requeued", "unknown", "no_command") or \
            io["references_out"] not in (0, None)
        if taken:
            groups.setdefault((io["place"], tuple(io["flags"]), request.get("state"), request.get("op"), io["ref"],
                               io["task_registered_buffers"]), []).append(io)
    for (place, flags, state, operation, ref, registered), ios in groups.items():
        ages = [io["request"]["age_ns"] for io in ios if io["request"] and io["request"]["age_ns"] is not None]
        lines.append(f"    tag(s) {tag_list([io['tag'] for io in ios])}: {_PLACES[place]}; io {'|'.join(flags) or '0'}"
                     f"{references(ref, registered, ios[0])}; request {state} {operation}, "
                     f"oldest {seconds(max(ages, default=None))}")
    return lines


def references(ref: int | None, registered: int | None, io: Json) -> str:
    if not ref and not registered:
        return ""
    return f" ref {ref:#x}+{registered} ({io['references_out']} out)"


def opener_lines(document: Json, device: Json) -> list[str]:
    names = {task["address"]: f"{task['comm']}({task['pid']})" for task in document["tasks"]}
    rings = {ring["address"]: [f"{row['comm']}({row['pid']})" for row in ring["fds"]] for ring in document["rings"]}
    openers = device["openers"] or {"char": [], "block": [], "mounts": []}
    lines = []
    for kind, path in (("char", f"/dev/ublkc{device['id']}"), ("block", f"/dev/ublkb{device['id']}")):
        rows = [f"{row['comm']}({row['pid']}) {row['how']}" + (f" {row['fd']}" if row["fd"] is not None else "")
                if row["how"] != "registered file" else
                f"registered file {row['slot']} of the ring of "
                + (', '.join([names.get(user, '?') for user in row['users']] or rings.get(row['ring'], [])) or 'nobody')
                for row in openers[kind]]
        if rows:
            lines.append(f"  {path} is open: {'; '.join(rows[:8])}" + (f"; {len(rows) - 8} more" if len(rows) > 8 else ""))
    lines += [f"  mounted: {row['type']} on {row['id']}" for row in openers["mounts"]]
    return lines


def command_lines(document: Json) -> list[str]:
    names = {task["address"]: f"{task['comm']}({task['pid']})" for task in document["tasks"]}
    lines = [f"  {row['command']} of device {row['device']}, from {names.get(row['issuer'], '?')}"
             + (", queued" if row["queued"] else f", worker {names.get(row['worker'], '?')}")
             for row in document["control_commands"]]
    lines += [f"  {row['work']} in {names.get(row['task'], '?')}, state {row['state']}" for row in document["works"]]
    return ["", "control commands and works:", *lines] if lines else []


def task_lines(document: Json) -> list[str]:
    """Stacks together, the same ones once; idle threads of servers in one line."""
    groups: dict[tuple[typing.Any, ...], list[Json]] = {}
    for task in document["tasks"]:
        roles = [role for role in task["roles"] if role != "uses a ublk ring"] or task["roles"]
        groups.setdefault((tuple(roles), task["state"], tuple(bare(frame) for frame in task["stack"])), []).append(task)
    lines = ["", "tasks:"] if groups else []
    for (roles, state, stack), tasks in groups.items():
        pids = ", ".join(f"{task['comm']}({task['pid']})" for task in tasks[:6])
        more = f" and {len(tasks) - 6} more" if len(tasks) > 6 else ""
        lines.append(f"  {state} {pids}{more}: {', '.join(roles)}")
        waits = tasks[0]["waits_in"]
        if state == "S" and waits in IDLE_WAITS:
            lines.append(f"      sleeps in {waits}")
        elif stack:
            lines.append("      " + " < ".join(stack))
        else:
            lines.append("      no stack: it runs or is dead")
    return lines


def graph_lines(document: Json) -> list[str]:
    counted: dict[tuple[str, str, str], int] = {}
    for edge in document["wait_graph"]:
        start = edge["from"].rsplit("/", 1)[0] if edge["from"].startswith("tag:") else edge["from"]
        end = edge["to"].rsplit("/", 1)[0] if edge["to"].startswith("tag:") else edge["to"]
        counted[start, edge["why"], end] = counted.get((start, edge["why"], end), 0) + 1
    names = {f"task:{task['pid']}": f"{task['comm']}({task['pid']})" for task in document["tasks"]}

    def name(node: str) -> str:
        return names.get(node, node.replace("tag:", "tags of device/queue ").replace(":", " "))

    lines = [f"  {name(start)} --{why}--> {name(end)}" + (f" ({count})" if count > 1 else "")
             for (start, why, end), count in counted.items()]
    return ["", "who waits for whom:", *lines] if lines else []
