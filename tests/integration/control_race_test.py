#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Control operations that meet: one at a time on a device, the state first, and what is said afterwards is what the
device then is."""

import contextlib
import fcntl
import json
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import time

import ublk
from ublk import LONG, SERVER, Device, devices, process_ended, run, succeed, wait_until

ROUNDS = int(os.environ.get("UBLKBENCH_ROUNDS", "50" if LONG else "8"))
F_OFD_SETLK = 37
TROUBLE = re.compile(r"BUG:|Oops|WARNING:|general protection|NULL pointer|blocked for more than")


def kernel_log():
    return [line for line in succeed("dmesg", "--notime").splitlines() if TROUBLE.search(line)]


@contextlib.contextmanager
def operation_under_way(number):
    """The lock of control/device_lock.cpp on the device, in this process."""
    with open("/dev/ublk-control", "r+b", buffering=0) as node:
        start = (1 << 40) + 2 * number + 1
        fcntl.fcntl(node, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0))
        yield


class ControlRace(ublk.TestCase):
    def setUp(self):
        super().setUp()
        before = len(kernel_log())
        self.addCleanup(lambda: self.assertEqual(kernel_log()[before:], []))

    def need_quiesce(self):
        if "UBLK_F_QUIESCE" not in granted():
            self.skipTest("QUIESCE_DEV is first in Linux 6.16")

    def both(self, *lines):
        """Starts all command lines at once, each a random moment later; their (code, output, errors)."""
        processes = []
        for words in lines:
            processes.append(subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE,
                                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True))
            time.sleep(random.uniform(0, 0.15))
        return [(process.returncode, *said) for process in processes for said in [process.communicate(timeout=120)]]

    def kill_server(self, device):
        pid = devices()[device.id]["server_pid"]
        if pid > 0:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: devices()[device.id]["state"] == "QUIESCED", "it waits for a server")

    def test_quiesce_during_recover(self):
        self.need_quiesce()
        orders = {"LIVE": 0, "QUIESCED": 0}
        with Device("-t", "null", "-r", "reissue", "-d", 64) as device:
            for count in range(ROUNDS):
                self.kill_server(device)
                lines = [(SERVER, "recover", device.id, "--json"), (SERVER, "quiesce", device.id)]
                recovered, quiesced = self.both(*lines) if count % 2 else reversed(self.both(*reversed(lines)))
                for code, _, errors in (recovered, quiesced):
                    self.assertEqual(code, 0, errors)
                self.assertRegex(quiesced[1], rf"^device {device.id} .*is QUIESCED")
                server = json.loads(recovered[1])["server_pid"]
                if "QUIESCED already" in quiesced[1]:
                    self.assertEqual(devices()[device.id]["state"], "LIVE")
                    self.assertEqual(devices()[device.id]["server_pid"], server)
                    orders["LIVE"] += 1
                else:
                    self.assertEqual(devices()[device.id]["state"], "QUIESCED")
                    wait_until(lambda pid=server: process_ended(pid), "the quiesced server ended")
                    orders["QUIESCED"] += 1
        print(f"{ROUNDS} rounds: {orders['LIVE']} times quiesce came first, {orders['QUIESCED']} times recover")

    def test_two_recoveries_at_once(self):
        with Device("-t", "null", "-r", "reissue") as device:
            self.kill_server(device)
            outcomes = self.both(*[(SERVER, "recover", "-n", device.id, "--json", "--timeout", "3s")] * 2)
            self.assertEqual(sorted(code for code, _, _ in outcomes), [0, 2], outcomes)
            (server,) = [json.loads(output)["server_pid"] for code, output, _ in outcomes if code == 0]
            (refused,) = [errors for code, _, errors in outcomes if code == 2]
            self.assertRegex(refused, rf"process {server} \(.*\) serves it: use 'ublk-server upgrade'")
            self.assertEqual(devices()[device.id]["server_pid"], server)

    def test_del_during_recover(self):
        for _ in range(max(ROUNDS // 4, 2)):
            device = Device("-t", "null", "-r", "reissue")
            self.kill_server(device)
            (code, _, errors), deleted = self.both((SERVER, "recover", device.id, "--timeout", "10s"),
                                                   (SERVER, "del", device.id))
            self.assertEqual(deleted[0], 0, deleted)
            self.assertEqual(deleted[1], f"device {device.id} removed\n")
            self.assertIn(code, (0, 2), errors)
            wait_until(lambda number=device.id: number not in devices(), "gone")

    def test_an_operation_waits_for_another_and_names_it(self):
        with Device("-t", "null", "-r", "reissue") as device:
            self.kill_server(device)
            with operation_under_way(device.id):
                for words in (("recover", device.id, "--timeout", "1s"), ("quiesce", device.id, "--timeout", "1s")):
                    refused = run(SERVER, *words)
                    self.assertEqual(refused.returncode, 5, refused.stderr)
                    self.assertRegex(refused.stderr, rf"wait for ublk device {device.id}: .*; process {os.getpid()} "
                                                     r"\(.*\) is in the middle of an operation on it\n$")
                self.assertEqual(devices()[device.id]["state"], "QUIESCED")
            succeed(SERVER, "recover", device.id)

    def test_states_without_a_disk(self):
        with Device("-t", "null", "--keep") as device:
            os.kill(device.server_pid, signal.SIGKILL)
            wait_until(lambda: devices()[device.id]["state"] == "DEAD", "the disk went away")
            for words in (("resize", "-s", "1G"), ("stop", "--safe"), ("stop",), ("quiesce",)):
                refused = run(SERVER, *words, device.id)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn("it has no disk", refused.stderr)
            refused = run(SERVER, "recover", device.id)
            self.assertEqual(refused.returncode, 2, refused.stderr)

    def test_quiesced_twice(self):
        self.need_quiesce()
        with Device("-t", "null", "-r", "reissue") as device:
            self.assertRegex(succeed(SERVER, "quiesce", device.id), r"quiesced in .*, it is QUIESCED; its I/O waits")
            self.assertRegex(succeed(SERVER, "quiesce", "-n", device.id), r"is QUIESCED already; its I/O waits")


class HungDelete(ublk.TestCase):
    def test_nothing_of_ours_keeps_the_callers_output(self):
        """A shell's $(...) ends when the last process that has the pipe ends."""
        # Not its first megabyte, or the partition scan would hang.
        device = Device("-t", "null+fault:hang=0@1M..200G", "-d", 1)
        client = subprocess.Popen(["dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1", "skip=1000",
                                   "iflag=direct"], stderr=subprocess.DEVNULL)
        try:
            stat = pathlib.Path(f"/sys/block/ublkb{device.id}/inflight")
            wait_until(lambda: stat.read_text().split()[0] != "0", "the read is in flight")
            refused = run(SERVER, "del", device.id)
            self.assertEqual(refused.returncode, 5, refused.stderr)
            self.assertIn(f"open in process {client.pid} (dd)", refused.stderr)
            said = run("sh", "-c", f'x=$({SERVER} del --force {device.id} 2>&1); echo "$? $x"', timeout_s=100)
            self.assertRegex(said.stdout, r"^5 ublk-server: STOP_DEV on ublk device \d+: Connection timed out; the driver "
                                          r"gave no answer in 30 s: .*ending the server process does that\n$")
        finally:
            os.kill(device.server_pid, signal.SIGKILL)
            client.wait(timeout=60)
        wait_until(lambda: device.id not in devices(), "removed with its server", 60)


def granted():
    return {row["name"] for row in json.loads(succeed(SERVER, "features", "--json"))["features"] if row["granted"]}


if __name__ == "__main__":
    ublk.main()
