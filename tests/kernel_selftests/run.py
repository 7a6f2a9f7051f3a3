#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the kernel's ublk selftests with ublk-server in kublk's place.

usage: run.py GROUP, where GROUP is 'fast' or the beginning of names: generic, stress_01_03 (a range), ...

The scripts come from Debian's linux-source package by way of scripts/vm and are in
build/kernel-selftests. Each one's outcome is kept in build/kernel-selftests-results, from which
table.py makes docs/kernel-selftests.md.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
import ublk  # noqa: E402

SOURCE = HERE.parents[1] / "build/kernel-selftests"
RESULTS = HERE.parents[1] / "build/kernel-selftests-results"
FAST = ("generic_10", "generic_13", "generic_17", "loop_02", "null_01", "params_01")
OUTCOMES = {0: "pass", 4: "skip"}
# Not ours to pass; why, for the table.
KNOWN = {
    "integrity_02": "needs fio 3.42 or newer; Debian 13 has 3.39",
}
# Bounds a hang, not slowness: stripe_01 passes after 354 s in an emulator on a busy host.
LIMIT_S = 1200
KERNEL_COMPLAINS = re.compile(r"WARNING:|BUG:|KASAN|blocked for more than|Call Trace|general protection")


def scripts_of(group):
    names = sorted(path.stem.removeprefix("test_") for path in SOURCE.glob("test_*_*.sh"))
    if group == "fast":
        return [name for name in names if name in FAST]
    ranged = re.fullmatch(r"([a-z]+)_(\d+)_(\d+)", group)
    if not ranged:
        return [name for name in names if name.rsplit("_", 1)[0] == group]
    kind, first, last = ranged.groups()
    return [name for name in names
            if name.rsplit("_", 1)[0] == kind and int(first) <= int(name.rsplit("_", 1)[1]) <= int(last)]


@contextlib.contextmanager
def workshop():
    """A copy of the scripts with our kublk among them, and a large disk for what they write."""
    with contextlib.ExitStack() as stack:
        base = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="selftests.")))
        folder = base / "ublk"
        shutil.copytree(SOURCE, folder)
        shutil.copy2(HERE / "kublk", folder / "kublk")
        scratch = base / "scratch"
        scratch.mkdir()
        disk = "/dev/disk/by-ublkbench/scratch0"
        if os.path.exists(disk):
            ublk.succeed("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard", disk)
            ublk.succeed("mount", disk, scratch)
            stack.callback(ublk.succeed, "umount", "-l", scratch)
        yield folder, scratch


def complaints_since(marker):
    """Lines of the kernel's log after `marker` that no test may cause."""
    log = ublk.run("dmesg").stdout
    return [line for line in log.rpartition(marker)[2].splitlines() if KERNEL_COMPLAINS.search(line)]


def clean_up():
    left = sorted(ublk.devices())
    if left:
        ublk.run(ublk.SERVER, "del", "--all", timeout_s=120)
    return left


def run_script(name, folder, scratch):
    marker = f"ublkbench runs {name} at {time.monotonic()}"
    with open("/dev/kmsg", "w", encoding="ascii") as log:
        log.write(marker)
    # Some scripts take the server's number from `cd $(dirname)`; some need /dev/fd and bpftrace.
    environment = dict(os.environ, TMPDIR=str(scratch), UBLKBENCH_BUILD=str(ublk.BUILD.resolve()))
    began = time.monotonic()
    script = subprocess.Popen(["bash", f"./test_{name}.sh"], cwd=folder, env=environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = script.communicate(timeout=LIMIT_S)
        outcome = OUTCOMES.get(script.returncode, "fail")
    except subprocess.TimeoutExpired:
        os.killpg(script.pid, 9)
        output, outcome = f"not done in {LIMIT_S} s", "fail"
    seconds = time.monotonic() - began
    complaints = complaints_since(marker)
    if complaints:
        outcome = "fail"
    left = clean_up()
    return {"script": name, "outcome": outcome, "seconds": round(seconds, 1), "output": output[-3000:],
            "kernel_log": complaints[:20], "devices_left": left, "kernel": os.uname().release}


def judge(result):
    """The line to print, and whether the run fails for it."""
    name, outcome = result["script"], result["outcome"]
    bad = outcome == "fail" or (outcome == "skip" and name not in KNOWN)
    why = KNOWN.get(name, "") if outcome == "skip" else ""
    line = f"{name:<14} {outcome:<4} {result['seconds']:6.1f} s  {why}"
    if bad:
        line += "\n" + result["output"] + "\n".join(result["kernel_log"])
    return line, bad


def main(group):
    ublk.require_environment()
    if not SOURCE.is_dir():
        print(f"skipped: no {SOURCE}; 'scripts/vm test' fetches the scripts")
        return ublk.SKIPPED
    names = scripts_of(group)
    if not names:
        sys.exit(f"no script is in group {group}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    failures = 0
    with workshop() as (folder, scratch):
        for name in names:
            result = run_script(name, folder, scratch)
            (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
            line, bad = judge(result)
            print(line, flush=True)
            failures += bad
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
