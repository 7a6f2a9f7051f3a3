# SPDX-License-Identifier: MIT
"""Documents as ublk-dump makes them, built by hand for states that this kernel cannot be brought into."""

import itertools

_addresses = itertools.count(0xFFFF888000000000, 0x1000)


def address():
    return f"{next(_addresses):#x}"


def task(comm="server", state="S", waits_in="io_cqring_wait", stack=None, pid=100, **fields):
    return {"address": address(), "pid": pid, "tgid": pid, "comm": comm, "state": state, "flags": [],
            "io_flusher": False, "on_cpu": False, "roles": ["server"], "blocked_on": None, "off_cpu_ns": 60 * 10**9,
            "stack": stack if stack is not None else ["__schedule+0x1", "schedule+0x1", f"{waits_in}+0x1"],
            "waits_in": waits_in, **fields}


def request(tag, state="IN_FLIGHT", age_s=60.0, client=None, **fields):
    return {"address": address(), "tag": tag, "internal_tag": -1, "state": state, "op": "READ", "cmd_flags": "0x800",
            "cmd_flag_names": ["SYNC"], "rq_flags": ["IO_STAT"], "sector": 8 * tag, "bytes": 4096, "ref": 1,
            "start_time_ns": 1, "deadline_jiffies": 1, "age_ns": int(age_s * 1e9), "age_jiffies": 1,
            "client": {"bi_end_io": "bio_wait_end_io", "task": client} if client else None, **fields}


def io(tag, place="owned_by_server", flags=("OWNED_BY_SRV",), daemon=None, asked=None, **fields):
    asked = asked or request(tag)
    return {"tag": tag, "place": place, "flags": list(flags), "flags_raw": "0x2", "res": 0, "task": daemon, "ref": 0,
            "task_registered_buffers": 0, "references_out": 0, "buf_ctx_handle": None, "cmd": None,
            "req": asked["address"] if place == "owned_by_server" else None, "ring": None, "request": asked, **fields}


def queue(ios, depth=8, **fields):
    places = ("waiting", "owned_by_server", "dispatched", "requeued", "canceled", "no_command", "unknown")
    summary = {place: sum(1 for entry in ios if entry["place"] == place) for place in places}
    summary["waiting"] += depth - len(ios)
    summary["references_out"] = 0
    return {"id": 0, "address": address(), "depth": depth, "flags_raw": "0x0", "nr_io_ready": depth,
            "booleans": {"force_abort": False, "canceling": False, "fail_io": False}, "daemon": None,
            "tags_busy": len(ios), "tag_waiters": 0, "hctx": {"state": [], "dispatch": 0, "active": 0}, "fifo": None,
            "fetch_commands": None, "ios": ios, "summary": summary, **fields}


def ring(users=(), **fields):
    return {"address": address(), "setup": ["DEFER_TASKRUN"], "users": list(users), "submitter": None,
            "refs": {"dead": False, "atomic": False, "count": None}, "uring_lock_owner": None,
            "exit_work_pending": False, "task_work_pending": False, "cq_waiting_for": 1, "cached_sq_head": 8,
            "cached_cq_tail": 0, "timeouts": 0, "overflow_list": 0,
            "queues": {"sq": {"head": 8, "tail": 8, "entries": 8, "unsubmitted": 0},
                       "cq": {"head": 0, "tail": 0, "entries": 16, "unreaped": 0}, "overflow": 0, "dropped": 0,
                       "sq_flags": []},
            "commands": [], "polls": [], "files": [], "file_slots": 1, "buffers": [], "buffer_slots": 0, "fds": [],
            "inflight": [{"task": user, "requests": 0, "task_work_pending": False, "fallback_work_pending": False,
                          "in_cancel": 0} for user in users], **fields}


def device(queues, number=0, server_pid=100, state="LIVE", frozen=0, quiesced=0, canceling=False, **fields):
    found = {"id": number, "address": address(), "state": state, "state_bits": ["OPEN", "USED"], "state_bits_raw": "0x3",
             "flags": ["CMD_IOCTL_ENCODE"], "flags_raw": "0x40",
             "info": {"ublksrv_pid": server_pid, "nr_hw_queues": len(queues), "queue_depth": queues[0]["depth"]},
             "booleans": {"canceling": canceling, "unprivileged_daemons": False, "block_open": False},
             "nr_queue_ready": len(queues), "ublksrv_tgid": server_pid, "ch_file": address(),
             "exit_work_pending": False, "partition_scan_pending": False, "mutex_owner": None,
             "cancel_mutex_owner": None, "params": None, "references": 5, "queues": queues,
             "disk": {"name": f"ublkb{number}", "address": address(), "state": ["ADDED"], "sectors": 8, "openers": 0,
                      "open_mutex_owner": None,
                      "queue": {"address": address(), "flags": [], "freeze_depth": frozen, "quiesce_depth": quiesced,
                                "usage": {"dead": False, "atomic": False, "count": None}, "elevator": None,
                                "requeued": [], "requeue_work_pending": False, "timeout_jiffies": 7500}},
             "openers": {"char": [], "block": [], "mounts": []}}
    return {**found, **fields}


def document(devices, tasks=(), rings=(), commands=(), works=(), control_mutex=None):
    return {"schema": "ublk-dump", "schema_version": 1,
            "tool": {"name": "ublk-dump", "version": "0", "drgn": "0"},
            "source": {"kind": "recording", "kernel": "7.3.4", "types": "BTF", "access": "memory",
                       "constants_read_in": {}},
            "taken_at": "2026-01-01T00:00:00+00:00", "now_ns": 10**12, "devices": list(devices),
            "rings": list(rings), "tasks": list(tasks), "control_commands": list(commands), "works": list(works),
            "control_mutex": control_mutex or {"address": address(), "owner": None, "waiters": False}, "missing": [],
            "errors": []}


def command(name, worker=None, number=0, issuer=None, queued=False):
    return {"command": name, "device": number, "ring": address(), "worker": worker, "issuer": issuer or address(),
            "queued": queued}
