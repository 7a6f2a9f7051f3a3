#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Device parameters: what was asked for is what the block layer shows, and data survives it."""

import json
import os
import pathlib
import subprocess

import ublk
from ublk import Device, devices, run, succeed, wait_until

RULES = """\
KERNEL=="ublk-control", MODE="0666"
KERNEL=="ublk[bc][0-9]*", ENV{{DEVTYPE}}!="partition", PROGRAM="{server} owner -n %n", \
OWNER="%c{{1}}", GROUP="%c{{2}}"
"""
NOBODY = 65534


class Parameters(ublk.TestCase):
    def test_what_is_asked_for_is_shown(self):
        words = ("--logical-block", "1k", "--physical-block", "8k", "--io-min", "8k", "--io-opt",
                 "64k", "--max-request", "256k", "--dma-alignment", "4k", "--max-segments", 16,
                 "--max-segment", "64k", "--discard-granularity", "64k", "--max-discard", "16M",
                 "--max-write-zeroes", "1M", "--write-cache", "on", "--fua", "on", "--rotational",
                 "--size", "32M", "--io-desc-size", 64)
        shown = {"logical_block_size": 1024, "physical_block_size": 8192, "minimum_io_size": 8192,
                 "optimal_io_size": 65536, "max_hw_sectors_kb": 256, "dma_alignment": 4095,
                 "max_segments": 16, "max_segment_size": 65536, "discard_granularity": 65536,
                 "discard_max_hw_bytes": 16 << 20, "write_zeroes_max_bytes": 1 << 20, "fua": 1,
                 "rotational": 1}
        with Device("-t", "mem:64M", *words) as device:
            for name, value in shown.items():
                self.assertEqual(device.queue(name), str(value), name)
            self.assertEqual(device.queue("write_cache"), "write back")
            self.assertEqual(int(succeed("blockdev", "--getsize64", device.path)), 32 << 20)
            self.assertEqual(devices()[device.id]["io_desc_bytes"], 64)
            succeed("fio", "--name=verify", f"--filename={device.path}", "--rw=randwrite",
                    "--bs=8k", "--direct=1", "--ioengine=io_uring", "--iodepth=32",
                    "--verify=crc32c", "--verify_state_save=0", "--size=16M")

    def test_boundaries(self):
        with Device("-t", "null", "--chunk", "128k", "--virtual-boundary", "4k") as device:
            self.assertEqual(device.queue("chunk_sectors"), "256")
            self.assertEqual(device.queue("virt_boundary_mask"), "4095")
        with Device("-t", "null", "--segment-boundary", "4k", "--max-segment", "32k") as device:
            self.assertEqual(device.queue("max_segment_size"), "32768")

    def test_read_only(self):
        with Device("-t", "mem:16M", "--read-only") as device:
            self.assertEqual(succeed("blockdev", "--getro", device.path).strip(), "1")
            written = run("dd", "if=/dev/zero", f"of={device.path}", "bs=4k", "count=1",
                          "oflag=direct")
            self.assertNotEqual(written.returncode, 0)

    def test_what_does_not_fit_is_refused(self):
        for words, says in ((("--logical-block", "3k"), "power of two"),
                            (("--logical-block", "4k", "--physical-block", "512"), "physical"),
                            (("--size", "1G"), "the target has"),
                            (("--max-request", "2M"), "--max-io"),
                            (("--io-desc-size", 20), "multiple of 8"),
                            (("--metadata", 8), "user_copy"),
                            (("--metadata-tag", 2), "without --metadata"),
                            (("-m", "user_copy", "--metadata", 8, "--metadata-checksum", "nvme"),
                             "must fit"),
                            (("--unprivileged", "-r", "fail"), "ordinary users"),
                            (("--unprivileged", "-m", "zc"), "copy and get_data")):
            with self.subTest(words=words):
                refused = run(ublk.SERVER, "add", "-t", "mem:64M", *words)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn(says, refused.stderr)
                self.assertEqual(refused.stderr.count("\n"), 1, refused.stderr)


class Metadata(ublk.TestCase):
    WORDS = ("-m", "user_copy", "--metadata", 8, "--metadata-checksum", "t10dif",
             "--metadata-reference-tag", "--no-partition-scan")

    def fill(self, device):
        succeed("fio", "--name=fill", f"--filename={device.path}", "--rw=randwrite", "--bs=4k",
                "--direct=1", "--ioengine=io_uring", "--iodepth=16", "--verify=crc32c",
                "--verify_state_save=0", "--size=8M")

    def test_the_block_layer_checks_what_was_stored(self):
        for delivery in ("user_copy", "batch,user_copy"):
            with self.subTest(mode=delivery), \
                    Device(*self.WORDS, "-m", delivery, "-t", "mem:16M") as device:
                integrity = pathlib.Path(f"/sys/block/ublkb{device.id}/integrity")
                self.assertEqual((integrity / "format").read_text().strip(), "T10-DIF-TYPE1-CRC")
                self.fill(device)
                # What was never written is not checked; what is discarded is forgotten.
                succeed("dd", f"if={device.path}", "of=/dev/null", "bs=64k", "skip=130", "count=8",
                        "iflag=direct")
                succeed("blkdiscard", "-o", 0, "-l", 1 << 20, device.path)
                succeed("dd", f"if={device.path}", "of=/dev/null", "bs=64k", "count=128",
                        "iflag=direct")

    def test_a_changed_byte_is_found(self):
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", 16 << 20)
            metadata = pathlib.Path(folder) / "metadata"
            with Device(*self.WORDS, "-t", f"loop:{backing}", "--metadata-file",
                        metadata) as device:
                self.fill(device)
                self.assertEqual(metadata.stat().st_size, (16 << 20) // 512 * 8)
                read = ("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1",
                        "iflag=direct")
                succeed(*read)
                with open(metadata, "r+b", buffering=0) as file:
                    guard = file.read(1)
                    file.seek(0)
                    file.write(bytes([guard[0] ^ 1]))
                self.assertNotEqual(run(*read).returncode, 0)
                with open(metadata, "r+b", buffering=0) as file:
                    file.write(guard)
                succeed(*read)
                with open(backing, "r+b", buffering=0) as file:
                    file.write(b"other data")
                    os.fsync(file.fileno())
                self.assertNotEqual(run(*read).returncode, 0)


class Unprivileged(ublk.TestCase):
    """A user's own device, with udev and the rule that docs/life-cycle.md shows."""

    def setUp(self):
        super().setUp()
        udevd = next((path for path in ("/usr/lib/systemd/systemd-udevd", "/sbin/udevd")
                      if os.path.exists(path)), None)
        if udevd is None or not ublk.IN_VM:
            self.skipTest("starts udev with rules of its own: only in scripts/vm")
        pathlib.Path("/run/udev/rules.d").mkdir(parents=True, exist_ok=True)
        self.rule = pathlib.Path("/run/udev/rules.d/60-ublk.rules")
        self.server = self.enterContext(ublk.for_everyone(ublk.SERVER))
        self.addCleanup(os.chmod, "/dev/ublk-control", 0o600)
        self.addCleanup(self.rule.unlink)
        self.rule.write_text(RULES.format(server=self.server))
        # dmsetup waits for ever for a udev that it takes for running by this socket (libudev, systemd's
        # src/libudev/libudev-queue.c), which systemd-udevd leaves behind.
        socket = pathlib.Path("/run/udev/control")
        self.assertFalse(socket.exists(), "udev runs here already")
        self.addCleanup(socket.unlink, missing_ok=True)
        self.udevd = subprocess.Popen([udevd], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.udevd.wait)
        self.addCleanup(self.udevd.terminate)
        wait_until(lambda: run("udevadm", "control", "--ping").returncode == 0, "udev is up")
        succeed("udevadm", "trigger", "--action=add", "/dev/ublk-control")
        succeed("udevadm", "settle")

    def as_nobody(self, *words):
        return run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words)

    def test_a_user_adds_uses_and_removes_a_device(self):
        refused = self.as_nobody(self.server, "add", "-t", "null")
        self.assertEqual(refused.returncode, 5, refused.stderr)
        self.assertIn("--unprivileged", refused.stderr)
        for mode in ("copy", "get_data"):
            with self.subTest(mode=mode):
                added = self.as_nobody(self.server, "add", "--unprivileged", "--json", "-m", mode,
                                       "-t", "mem:16M")
                self.assertEqual(added.returncode, 0, added.stderr)
                device = json.loads(added.stdout)
                self.assertIn("UBLK_F_UNPRIVILEGED_DEV", device["flags_granted"])
                node = os.stat(device["block_device"])
                self.assertEqual((node.st_uid, node.st_gid), (NOBODY, NOBODY))
                written = self.as_nobody("dd", "if=/dev/urandom", f"of={device['block_device']}",
                                         "bs=4k", "count=16", "oflag=direct")
                self.assertEqual(written.returncode, 0, written.stderr)
                self.assertEqual(devices()[device["id"]]["owner_uid"], NOBODY)
                succeed("udevadm", "settle")  # it looks at a disk that somebody has written to
                deleted = self.as_nobody(self.server, "del", "-n", device["id"])
                self.assertEqual(deleted.returncode, 0, deleted.stderr)
                self.assertNotIn(device["id"], devices())

    def test_others_devices_are_not_a_users(self):
        with Device("-t", "null") as device:
            refused = self.as_nobody(self.server, "del", "-n", device.id)
            self.assertEqual(refused.returncode, 5, refused.stderr)
            self.assertEqual(devices()[device.id]["state"], "LIVE")
            self.assertEqual(os.stat(device.path).st_uid, 0)


if __name__ == "__main__":
    ublk.main()
