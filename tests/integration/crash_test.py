#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processes that die by kill -9: clients get errors, nothing stays that cannot be removed."""

import os
import pathlib
import signal
import subprocess

import ublk
from ublk import MODES, Device, devices, process_ended, succeed, wait_until


class Crash(ublk.TestCase):
    def test_killed_supervisor_leaves_an_orphan_that_can_be_removed(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                device = Device("-m", mode, "-t", "mem:16M")
                owner = devices()[device.id]["owner_pid"]
                os.kill(owner, signal.SIGKILL)
                wait_until(lambda: process_ended(device.server_pid), "server process ended")
                self.assertIn(device.id, devices())
                said = succeed(ublk.SERVER, "del", "--orphans")
                self.assertEqual(said, f"device {device.id} removed\n")
                self.assertNotIn(device.id, devices())

    def test_orphans_spare_devices_that_are_served(self):
        with Device("-t", "null") as device:
            owner = devices()[device.id]["owner_pid"]
            self.assertEqual(succeed(ublk.SERVER, "del", "--orphans"),
                             f"device {device.id} left alone: process {owner}, which made it, lives\n")
            self.assertEqual(devices()[device.id]["state"], "LIVE")

    def test_killed_server_fails_its_clients_and_is_cleaned_up(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                device = Device("-m", mode, "-t", "mem:64M")
                owner = devices()[device.id]["owner_pid"]
                client = subprocess.Popen(
                    ["fio", "--name=load", f"--filename={device.path}", "--rw=randrw", "--bs=4k",
                     "--direct=1", "--ioengine=io_uring", "--iodepth=32", "--time_based",
                     "--runtime=60", "--thread", "--allow_file_create=0"],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                stat = pathlib.Path(f"/sys/block/ublkb{device.id}/stat")
                wait_until(lambda: int(stat.read_text().split()[0]) > 100, "fio has read")
                os.kill(device.server_pid, signal.SIGKILL)
                output, _ = client.communicate(timeout=ublk.HANG_S)
                self.assertNotEqual(client.returncode, 0)
                self.assertRegex(output, r"Input/output error|No such device|error=")
                wait_until(lambda: device.id not in devices(), "supervisor removed the device")
                wait_until(lambda: process_ended(owner), "supervisor ended")
                self.assertTrue(process_ended(device.server_pid))

    def test_terminated_supervisor_removes_its_device(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                serving = subprocess.Popen([ublk.SERVER, "add", "-f", "-t", "null"],
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                assert serving.stdout
                self.assertIn("/dev/ublkb", serving.stdout.readline())
                serving.send_signal(number)
                _, errors = serving.communicate(timeout=ublk.HANG_S)
                self.assertEqual(serving.returncode, 0, errors)

    def test_interrupted_add_leaves_no_device(self):
        """Ctrl-C while the process behind, stopped here meanwhile, is making the device."""
        for _ in range(20):
            adding = subprocess.Popen([ublk.SERVER, "add", "-t", "null"], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
            children = pathlib.Path(f"/proc/{adding.pid}/task/{adding.pid}/children")
            while adding.poll() is None and not (behind := children.read_text().split()):
                pass
            if adding.poll() is None:
                os.kill(int(behind[0]), signal.SIGSTOP)
                adding.send_signal(signal.SIGINT)
                ended = adding.wait(timeout=ublk.HANG_S)
                os.kill(int(behind[0]), signal.SIGCONT)
                if ended == -signal.SIGINT:
                    break
            for number in set(devices()) - self.devices_before:
                succeed(ublk.SERVER, "del", "-n", number)
        self.assertEqual(adding.returncode, -signal.SIGINT, "20 times 'add' was faster")
        wait_until(lambda: process_ended(int(behind[0])), "the process behind ended")
        self.assertEqual(set(devices()) - self.devices_before, set())


if __name__ == "__main__":
    ublk.main()
