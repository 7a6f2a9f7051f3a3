# SPDX-License-Identifier: MIT
"""Records of 'ublkbench run', built by hand for the tests of the analyzers; and the program itself."""

import copy
import json
import os
import pathlib
import subprocess
import typing

BUILD = pathlib.Path(os.environ.get("UBLKBENCH_BUILD", "build/release"))
UBLKBENCH = BUILD / "bench/tools/ublkbench"

KEY_FIELDS: dict[str, typing.Any] = {"arch": "x86_64", "kernel": {"release": "7.3.4", "cmdline": "mitigations=off"},
              "cpu": {"vendor_id": "GenuineIntel", "copy_flags": {"erms": False}},
              "machine": {"accelerator": "tcg", "qemu_cpu": "max,-erms", "icount_shift": "1"},
              "build": {"compiler": "GNU 14.2.0", "flags": "-O2"}}


def cell(mode="copy", depth=128, target="null", kind="ublk", block_bytes=4096, pattern="randread"):
    name = mode if kind == "ublk" else f"({target})"
    where = f"{target} " if kind == "ublk" else ""
    return {"id": f"{name} {where}qd={depth} bs={block_bytes // 1024}k {pattern}", "kind": kind,
            "mode": mode if kind == "ublk" else None, "target": target, "depth": depth,
            "block_bytes": block_bytes, "pattern": pattern}


QUEUE = {"scheduler": "none", "nomerges": 0, "rq_affinity": 1, "wbt_lat_usec": None, "nr_requests": 128,
         "max_sectors_kb": 1024, "write_cache": "write through", "discard_granularity": 0}


def sample(of, round_number, ns_per_io=10000.0, server=2500.0, load=2600.0, total=5200.0, ios=10000, queue=None):
    window_ns = int(ns_per_io * ios)
    per_io = {"load_cpu_ns": 2 * load, "load_instructions": load, "total_instructions": total}
    if of["kind"] == "ublk":
        per_io |= {"server_cpu_ns": 2 * server, "server_instructions": server}
    batch = {"mean": 8.0, "size_events": [[8, ios // 8]]}
    return {"cell": of["id"], "round": round_number, "order": round_number, "status": "ok", "elapsed_ns": 10**9,
            "load": {"measured_ios": ios, "window_ns": window_ns, "iops": 1e9 / ns_per_io,
                     "usage": {"cpu_ns": int(2 * load * ios)},
                     "latency_ns": {"p50": ns_per_io, "p99": 2 * ns_per_io, "p999": 3 * ns_per_io}},
            "server": {"fetch_batch": batch, "commit_batch": batch, "enters": ios // 8,
                       "cpu_ns": int(2 * server * ios), "voluntary_switches": ios // 8}
            if of["kind"] == "ublk" else None,
            "per_io": per_io, "device": {"queue_limits": {**QUEUE, **(queue or {})}}}


def record(cells=(), samples=(), icount=True, commit="a" * 40, key_fields=None, **run):
    return {"schema": "ublkbench.run/1",
            "run": {"id": "1", "started": "2026-11-21T20:00:00Z", "argv": ["ublkbench"], "seed": 1, "repeat": 3,
                    "queues": 1, "daemons": 1, "jobs": 1, "ios": 10000, "runtime_ns": 0, "rate_iops": 0,
                    "loop": "closed", "latency_recorded": True,
                    "clock": "icount shift 1: times are instructions, not seconds" if icount else "",
                    "tool": {"version": "0.1.0", "commit": commit, "dirty": False, "compiler": "GNU", "flags": ""},
                    "modes_left_out": [], **run},
            "env": {"key": "0" * 16, "key_fields": copy.deepcopy(key_fields or KEY_FIELDS), "noted": {}},
            "cells": list(cells), "samples": list(samples)}


def write(path, document):
    pathlib.Path(path).write_text(json.dumps(document))
    return path


def ublkbench(*words, timeout_s=60):
    return subprocess.run([str(UBLKBENCH), *map(str, words)], capture_output=True, text=True, timeout=timeout_s,
                          stdin=subprocess.DEVNULL)
