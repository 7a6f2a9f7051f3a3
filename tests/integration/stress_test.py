#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Devices that are removed, or whose server is killed, under heavy I/O; and hundreds in a row.

UBLKBENCH_ROUNDS of each combination, UBLKBENCH_MODES (with spaces between them) and UBLKBENCH_CHURN devices in a row
take the place of what this file chooses.
"""

import concurrent.futures
import glob
import itertools
import json
import os
import pathlib
import queue
import random
import re
import signal
import subprocess
import tempfile
import time

import clients
import ublk
from ublk import LONG, Device, devices, run, succeed, wait_until

INTERRUPT_MODES = ("copy", "get_data", "user_copy", "zc", "auto_zc", "shmem_zc", "mixed:64k", "batch", "batch,zc",
                   "batch,auto_zc", "batch,user_copy", "per_io_daemon", "per_io_daemon,auto_zc", "offload",
                   "offload,zc")
LONG_MODES = (*INTERRUPT_MODES, "iopoll", "batch,iopoll,auto_zc", "iopoll_split")
CHOSEN = os.environ.get("UBLKBENCH_MODES", " ".join(LONG_MODES) if LONG else "batch,auto_zc").split()
MODES = [mode for mode in CHOSEN if "iopoll" not in mode]
POLLED_MODES = [mode for mode in CHOSEN if "iopoll" in mode]  # their files must poll: null_blk
ROUNDS = int(os.environ.get("UBLKBENCH_ROUNDS", "10" if LONG else "1"))
PARALLEL = 4 if LONG else 1  # rounds at a time: a removal mostly waits for grace periods
BYTES = 16 << 20
ENOUGH_IOS = 300  # that the load has done when it is disturbed
CHURN = int(os.environ.get("UBLKBENCH_CHURN", "400" if LONG else "12"))
SAW_ERRORS = 6  # ublk-load's exit code
COMPLAINTS = re.compile(r"WARNING:|BUG:|KASAN|blocked for more than|Call Trace|general protection")


def server_leftovers():
    """Tasks of server processes, and open files of ublk's character devices."""
    left = []
    for comm in glob.glob("/proc/[0-9]*/task/*/comm"):
        try:
            with open(comm, encoding="utf-8") as file:
                name = file.read().strip()
        except OSError:
            continue
        if re.match(r"ublk-[dw]\d|ublk-server", name):
            left.append(f"{comm}: {name}")
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link).startswith("/dev/ublkc"):
                left.append(f"{link} -> {os.readlink(link)}")
        except OSError:
            continue
    return left


def file_pairs(folder):
    """A pair of files for each round at a time; they hold data: a first write to a block is slow."""
    pairs = [tuple(folder / f"{number}.{part}" for part in (0, 1)) for number in range(PARALLEL)]
    for file in itertools.chain(*pairs):
        file.write_bytes(bytes(BYTES))
    return pairs


def target_word(target, files):
    return {"null": "null", "loop": f"loop:{files[0]}", "stripe": f"stripe:{files[0]},{files[1]}"}[target]


def ios_done(device):
    """Reads and writes that the block layer has completed (Documentation/block/stat.rst)."""
    fields = pathlib.Path(f"/sys/block/ublkb{device.id}/stat").read_text().split()
    return int(fields[0]) + int(fields[4])


def under_load(number, mode, target, disturb, *words):
    """One round: a device, a load of 128 I/Os in flight, disturb(device); the load must see errors, and no hang."""
    device = Device("-n", number, "-m", mode, "-t", target, "-q", 2, *words)
    # Nice, or the loads of the other rounds leave no CPU to what disturbs this one.
    load = subprocess.Popen(["nice", "-n", "15", str(clients.LOAD), device.path, "--rw", "randrw", "--depth", "64",
                             "--jobs", "2", "--size", str(BYTES), "--runtime", "300s", "--destructive"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: load.poll() is not None or ios_done(device) > ENOUGH_IOS, "the load runs")
        time.sleep(random.uniform(0, 0.2))
        disturb(device)
        wait_until(lambda: not os.path.exists(f"/dev/ublkc{device.id}"), "device removed")
        wait_until(lambda: ublk.process_ended(device.server_pid), "server ended")
        output, _ = load.communicate(timeout=ublk.HANG_S)
        if load.returncode != SAW_ERRORS:
            raise AssertionError(f"ublk-load: exit {load.returncode}\n{output}")
    finally:
        load.kill()


class Stress(ublk.TestCase):
    def setUp(self):
        super().setUp()
        self.numbers = itertools.count()  # of devices: one that is gone is not mistaken for the next round's
        self.marker = f"ublkbench stress {time.monotonic()}"
        with open("/dev/kmsg", "w", encoding="ascii") as log:
            log.write(self.marker)
        self.addCleanup(self.check_kernel_and_leftovers)

    def check_kernel_and_leftovers(self):
        log = run("dmesg").stdout.rpartition(self.marker)[2]
        self.assertEqual([line for line in log.splitlines() if COMPLAINTS.search(line)], [])
        wait_until(lambda: not server_leftovers(), f"nothing left, but {server_leftovers()}")

    def each_target(self, disturb):
        """ROUNDS rounds of every mode on every target, PARALLEL of them at a time."""
        targets = ("null", "loop", "stripe") if LONG else ("null",)
        with ublk.scratch_folder() as folder, concurrent.futures.ThreadPoolExecutor(PARALLEL) as rounds:
            pairs = file_pairs(folder)
            for target, mode in itertools.product(targets, MODES):
                self.rounds(rounds, disturb, mode, target, pairs)
            if POLLED_MODES:
                polling = [self.enterContext(ublk.NullBlk(f"ubstress{number}", memory_backed=1, size=BYTES >> 20,
                                                          poll_queues=1, submit_queues=2)).path
                           for number in range(2 * PARALLEL)]
                pairs = list(itertools.batched(polling, 2))
                for target, mode in itertools.product(targets, POLLED_MODES):
                    self.rounds(rounds, disturb, mode, target, pairs)

    def rounds(self, pool, disturb, mode, target, pairs):
        """ROUNDS rounds of one combination; each has a pair of files to itself."""
        free: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
        for pair in pairs:
            free.put(pair)

        def one():
            pair = free.get()
            try:
                under_load(next(self.numbers), mode, target_word(target, pair), disturb)
            finally:
                free.put(pair)

        began = time.monotonic()
        running = [pool.submit(one) for _ in range(ROUNDS)]
        for number, outcome in enumerate(running):
            with self.subTest(target=target, mode=mode, round=number):
                outcome.result()
        print(f"{self._testMethodName[5:]}: {ROUNDS} rounds of {mode} on {target} in "
              f"{time.monotonic() - began:.0f} s", flush=True)

    def test_removal_under_load(self):
        self.each_target(lambda device: succeed(ublk.SERVER, "del", "--force", device.id))

    def test_server_killed_under_load(self):
        self.each_target(lambda device: os.kill(device.server_pid, signal.SIGKILL))

    def test_recoverable_device_removed_after_its_server_was_killed(self):
        def disturb(device):
            os.kill(device.server_pid, signal.SIGKILL)
            succeed(ublk.SERVER, "del", "--force", device.id)
        for policy in ("fail", "reissue", "fail-io"):
            for number, mode in enumerate(MODES):
                with self.subTest(policy=policy, mode=mode), tempfile.NamedTemporaryFile(dir="/dev/shm") as region:
                    # A next server must find the memory of this one.
                    shared = ("--shared-memory", region.name) if "shmem_zc" in mode else ()
                    under_load(number, mode, "null", disturb, "-r", policy, *shared)

    def test_hundreds_of_devices_in_a_row(self):
        phases: dict[str, list[float]] = {"add": [], "first read": [], "del": []}

        def timed(phase, *words):
            began = time.monotonic()
            output = succeed(*words)
            phases[phase].append((time.monotonic() - began) * 1000)
            return output

        for number in range(CHURN):
            mode = INTERRUPT_MODES[number % len(INTERRUPT_MODES)]
            added = json.loads(timed("add", ublk.SERVER, "add", "--json", "-m", mode, "-t", "null"))
            timed("first read", "dd", f"if={added['block_device']}", "of=/dev/null", "bs=4k",
                  "count=1", "iflag=direct", "status=none")
            timed("del", ublk.SERVER, "del", "-n", added["id"])
        for phase, times in phases.items():
            times.sort()
            print(f"{CHURN} devices, {phase}: median {times[len(times) // 2]:.1f} ms, "
                  f"longest {times[-1]:.1f} ms")
        self.assertEqual(devices(), {})


if __name__ == "__main__":
    ublk.main()
