#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Devices that are removed, or whose server is killed, under heavy I/O; and hundreds in a row."""

import glob
import json
import os
import re
import signal
import time

import clients
import ublk
from ublk import LONG, Device, devices, run, succeed, wait_until

ALL_MODES = ("copy", "get_data", "user_copy", "zc", "auto_zc", "mixed:64k", "batch", "batch,zc",
             "batch,auto_zc", "batch,user_copy", "per_io_daemon", "per_io_daemon,auto_zc", "offload",
             "offload,zc")
MODES = ALL_MODES if LONG else ("batch,auto_zc",)
ROUNDS = int(os.environ.get("UBLKBENCH_ROUNDS", 10 if LONG else 1))
CHURN = int(os.environ.get("UBLKBENCH_CHURN", 400 if LONG else 12))
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


class Stress(ublk.TestCase):
    def setUp(self):
        super().setUp()
        self.marker = f"ublkbench stress {time.monotonic()}"
        with open("/dev/kmsg", "w", encoding="ascii") as log:
            log.write(self.marker)
        self.addCleanup(self.check_kernel_and_leftovers)

    def check_kernel_and_leftovers(self):
        log = run("dmesg").stdout.rpartition(self.marker)[2]
        self.assertEqual([line for line in log.splitlines() if COMPLAINTS.search(line)], [])
        wait_until(lambda: not server_leftovers(), f"nothing left, but {server_leftovers()}")

    def each_target(self, body):
        with ublk.scratch_folder() as folder:
            first = ublk.sparse_file(folder, "first", 64 << 20)
            second = ublk.sparse_file(folder, "second", 64 << 20)
            targets = ["null", f"loop:{first}", f"stripe:{first},{second}"] if LONG else ["null"]
            for target in targets:
                for mode in MODES:
                    for number in range(ROUNDS):
                        with self.subTest(target=target.split(":")[0], mode=mode, round=number):
                            body(mode, target)

    def under_load(self, mode, target, disturb, *words):
        device = Device("-m", mode, "-t", target, "-q", 2, *words)
        load = clients.fio(device.path, "--size=64M", runtime_s=30 if LONG else 4)
        try:
            time.sleep(0.7)
            disturb(device)
            wait_until(lambda: device.id not in devices(), "device removed", 60)
            load.communicate(timeout=60)
        finally:
            load.kill()

    def test_removal_under_load(self):
        self.each_target(lambda mode, target: self.under_load(
            mode, target, lambda device: succeed(ublk.SERVER, "del", "-n", device.id)))

    def test_server_killed_under_load(self):
        self.each_target(lambda mode, target: self.under_load(
            mode, target, lambda device: os.kill(device.server_pid, signal.SIGKILL)))

    def test_recoverable_device_removed_after_its_server_was_killed(self):
        def disturb(device):
            os.kill(device.server_pid, signal.SIGKILL)
            succeed(ublk.SERVER, "del", "-n", device.id)
        for policy in ("fail", "reissue", "fail-io"):
            for mode in MODES:
                with self.subTest(policy=policy, mode=mode):
                    self.under_load(mode, "null", disturb, "-r", policy)

    def test_hundreds_of_devices_in_a_row(self):
        phases = {"add": [], "first read": [], "del": []}

        def timed(phase, *words):
            began = time.monotonic()
            output = succeed(*words)
            phases[phase].append((time.monotonic() - began) * 1000)
            return output

        for number in range(CHURN):
            mode = ALL_MODES[number % len(ALL_MODES)]
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
