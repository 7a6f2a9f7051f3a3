#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublk-server add, list, features, del: every mode over every target, shapes, and one opener."""

import json
import os
import pathlib
import signal
import tempfile

import ublk
from ublk import MODES, Device, devices, run, succeed


class Lifecycle(ublk.TestCase):
    def serve_and_look(self, mode, target, *arguments):
        with Device("-m", mode, "-t", target, *arguments) as device:
            listed = devices()[device.id]
            self.assertEqual(listed["state"], "LIVE")
            self.assertEqual(listed["server_pid"], device.server_pid)
            for word in mode.split(","):
                if word in ublk.FLAGS:
                    self.assertIn(ublk.FLAGS[word], listed["flags"].split("|"))
                    self.assertIn(ublk.FLAGS[word], device.added["flags_granted"].split("|"))
            # A read through the page cache and one around it.
            succeed("dd", f"if={device.path}", "of=/dev/null", "bs=64k", "count=4", "iflag=direct")
            succeed("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=4")
        self.assertTrue(ublk.process_ended(device.server_pid))
        self.assertNotIn(device.id, devices())
        self.assertFalse(os.path.exists(device.path))

    def each_mode(self, target):
        for mode in MODES:
            with self.subTest(mode=mode, target=target):
                self.serve_and_look(mode, target)

    def test_null(self):
        self.each_mode("null")

    def test_memory(self):
        self.each_mode("mem:64M")

    def test_loop_on_a_file(self):
        with ublk.scratch_folder() as folder:
            self.each_mode(f"loop:{ublk.sparse_file(folder, 'backing', 64 << 20)}")

    def test_loop_on_a_disk(self):
        self.each_mode(f"loop:{ublk.scratch_disk(0)}")

    def test_depths(self):
        for mode in MODES:
            # A batch's tags are in a kfifo, which holds no single one.
            for depth in (2 if "batch" in mode else 1, 4096):
                with self.subTest(mode=mode, depth=depth), \
                        Device("-m", mode, "-t", "mem:64M", "-d", depth) as device:
                    self.assertEqual(devices()[device.id]["depth"], depth)
                    self.read_concurrently(device)

    def test_queues_and_daemons(self):
        for mode, queues, daemons in (("copy", 2, 2), ("copy", 2, 1), ("auto_zc", 2, 1),
                                      ("batch", 1, 2), ("batch", 2, 1), ("batch,auto_zc", 2, 4)):
            with self.subTest(mode=mode, queues=queues, daemons=daemons), \
                    Device("-m", mode, "-t", "mem:64M", "-q", queues, "--daemons",
                           daemons) as device:
                self.assertEqual(devices()[device.id]["queues"], queues)
                self.assertEqual(device.added["daemons"], daemons)
                self.read_concurrently(device)

    def read_concurrently(self, device):
        succeed("fio", "--name=read", f"--filename={device.path}", "--rw=randread", "--bs=4k",
                "--direct=1", "--ioengine=io_uring", "--iodepth=64", "--numjobs=2", "--size=512k",
                "--thread", "--output=/dev/null")

    def test_two_devices_at_once(self):
        with Device("-m", "copy", "-t", "mem:16M") as first, \
                Device("-m", "batch,auto_zc", "-t", "mem:16M") as second:
            self.assertNotEqual(first.id, second.id)
            with open(first.path, "r+b") as disk:
                disk.write(b"first")
            with open(second.path, "r+b") as disk:
                disk.write(b"other")
            with open(first.path, "rb") as disk:
                self.assertEqual(disk.read(5), b"first")

    def test_chosen_number_that_is_in_use(self):
        with Device("-t", "null", "-n", 17) as device:
            self.assertEqual(device.path, "/dev/ublkb17")
            second = run(ublk.SERVER, "add", "-t", "null", "-n", 17)
            self.assertEqual(second.returncode, 2, second.stderr)
            self.assertRegex(second.stderr, r"device id 17 is in use: .*ublk-server del -n 17'\n$")
            self.assertEqual(second.stderr.count("\n"), 1)
            self.assertEqual(devices()[17]["state"], "LIVE")

    def test_a_number_given_again_is_not_the_former_owners(self):
        # The supervisor of the first device hears of its end only after 'del' freed the number.
        Device("-t", "null", "-n", 18)
        supervisor_pid = devices()[18]["owner_pid"]
        os.kill(supervisor_pid, signal.SIGSTOP)
        succeed(ublk.SERVER, "del", "-n", 18)
        with Device("-t", "null", "-n", 18) as second:
            os.kill(supervisor_pid, signal.SIGCONT)
            ublk.wait_until(lambda: ublk.process_ended(supervisor_pid), "its supervisor ended")
            self.assertEqual(devices()[18]["state"], "LIVE")
            self.assertFalse(ublk.process_ended(second.server_pid))

    def test_features(self):
        features = json.loads(succeed(ublk.SERVER, "features", "--json"))
        granted = {row["name"] for row in features["features"] if row["granted"]}
        self.assertIn("UBLK_F_CMD_IOCTL_ENCODE", granted)
        self.assertIn("UBLK_F_USER_COPY", succeed(ublk.SERVER, "features"))

    def refused_and_whole(self, device, says, also_all=True):
        """Nothing has happened to the device when del, del --all and stop say who uses it."""
        for words in (("del", device.id), *([("del", "--all")] if also_all else []), ("stop", device.id)):
            refused = run(ublk.SERVER, *words)
            self.assertEqual(refused.returncode, 5, refused.stdout + refused.stderr)
            self.assertRegex(refused.stderr, rf"^ublk-server: remove /dev/ublkb{device.id}: .*; .*{says}.*--force .*\n$")
        self.assertEqual(devices()[device.id]["state"], "LIVE")
        succeed("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1", "iflag=direct", "status=none")

    def forced_and_going(self, device, says):
        """The disk is gone at once; the number is not, and list and add say why."""
        said = succeed(ublk.SERVER, "del", "--force", device.id)
        self.assertRegex(said, rf"^device {device.id} deleted; number {device.id} is free when it is closed: .*{says}")
        self.assertEqual(devices()[device.id]["state"], "DELETED")
        self.assertRegex(devices()[device.id]["held_by"], says)
        self.assertRegex(succeed(ublk.SERVER, "list"), rf"(?m)^ublkb{device.id}: DELETED: .*{says}")
        taken = run(ublk.SERVER, "add", "-t", "null", "-n", device.id)
        self.assertEqual(taken.returncode, 2, taken.stderr)
        self.assertRegex(taken.stderr, rf"device {device.id} was deleted, but its number is taken .*{says}")

    def test_del_of_an_open_device(self):
        device = Device("-t", "null")
        who = rf"process {os.getpid()} \(.*\)"
        with open(device.path, "rb"):
            self.refused_and_whole(device, f"open in {who}")
            self.forced_and_going(device, f"{who} has /dev/ublkb{device.id} open")
        ublk.wait_until(lambda: device.id not in devices(), "device gone after its opener")

    def test_del_of_a_device_whose_char_device_somebody_keeps(self):
        """As servers written in Go do. The disk is nobody's; the number is free when they let go."""
        device = Device("-t", "null", "--keep")
        os.kill(device.server_pid, signal.SIGKILL)
        ublk.wait_until(lambda: devices()[device.id]["state"] == "DEAD", "the disk went away")
        # The driver lets one in at a time, and the old server's files may not be closed yet.
        node = ublk.wait_until(lambda: self.open_if_free(f"/dev/ublkc{device.id}"), "the char device is free")
        try:
            self.forced_and_going(device, rf"process {os.getpid()} \(.*\) has /dev/ublkc{device.id} open")
        finally:
            os.close(node)
        ublk.wait_until(lambda: device.id not in devices(), "device gone after its opener")

    @staticmethod
    def open_if_free(path):
        try:
            return os.open(path, os.O_RDWR)
        except OSError:
            return None

    def test_del_of_a_mounted_device(self):
        device = Device("-t", "mem:64M")
        succeed("mkfs.ext4", "-q", "-F", device.path)
        with tempfile.TemporaryDirectory(prefix="ublkbench.") as folder:
            succeed("mount", device.path, folder)
            try:
                self.refused_and_whole(device, f"mounted on {folder}")
                pathlib.Path(folder, "file").write_text("whole")
                self.forced_and_going(device, "a file system that was mounted")
            finally:
                succeed("umount", "-l", folder)
        ublk.wait_until(lambda: device.id not in devices(), "device gone after its file system")

    def test_del_of_another_devices_target(self):
        with Device("-t", "mem:16M") as below, Device("-t", f"loop:{below.path}") as above:
            # --all would remove the user, which nobody uses.
            self.refused_and_whole(below, rf"open in process {above.server_pid} \(ublk-server\)", also_all=False)
        with Device("-t", "mem:16M") as below:
            loop = ublk.loop_device(below.path)
            try:
                self.refused_and_whole(below, f"held by {os.path.basename(loop)}")
            finally:
                succeed("losetup", "--detach", loop)

    def test_a_device_without_a_disk_says_so(self):
        with Device("-t", "null", "--keep") as device:
            os.kill(device.server_pid, signal.SIGKILL)
            ublk.wait_until(lambda: devices()[device.id]["state"] == "DEAD", "the disk went away")
            for words in (("stop", "--safe"), ("resize", "-s", "1G")):
                refused = run(ublk.SERVER, *words, "-n", device.id)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn("it has no disk", refused.stderr)


if __name__ == "__main__":
    ublk.main()
