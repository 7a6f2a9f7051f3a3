#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fio as a witness that is not ours: what was written is read back, block by block, in every mode."""

import contextlib
import pathlib

import ublk
from ublk import LONG, MODES, Device, succeed

BLOCK_SIZES = ("4k", "8k", "64k", "256k", "1M")


def verify(device, *options):
    """One job a block size, each with a part of the disk, all at once."""
    jobs = []
    megabytes = 32 if LONG else 4
    for number, size in enumerate(BLOCK_SIZES):
        jobs += [f"--name=bs{size}", f"--bs={size}", f"--offset={number * megabytes}M",
                 f"--size={megabytes}M", f"--filename={device.path}"]
    succeed("fio", "--rw=randwrite", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1",
            "--direct=1", "--ioengine=io_uring", "--iodepth=16", "--thread", "--randseed=1", "--verify_state_save=0",
            *options, *jobs, timeout_s=600)


class FioVerify(ublk.TestCase):
    def each_target(self):
        yield "mem:256M"
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(ublk.scratch_folder())
            yield f"loop:{ublk.sparse_file(folder, 'backing', 256 << 20)}"
            members = [str(ublk.sparse_file(folder, f"member{number}", 64 << 20))
                       for number in range(3)]
            yield f"stripe:{','.join(members)}:chunk=20k"
        if LONG:
            yield f"loop:{ublk.scratch_disk(0)}"

    def check(self, modes, *arguments):
        for target in self.each_target():
            # By default every mode on mem and loop; the buffers of a stripe differ by where the data is only.
            for mode in modes if LONG or not target.startswith("stripe") else modes[-1:]:
                with self.subTest(mode=mode, target=target, arguments=arguments), \
                        Device("-m", mode, "-t", target, *arguments) as device:
                    verify(device)
                    self.assertEqual(ublk.devices()[device.id]["state"], "LIVE")

    def test_every_mode(self):
        self.check(MODES)

    def test_registration_that_fails_for_every_second_tag(self):
        self.check(("auto_zc", "batch,auto_zc"), "--auto-zc-fallback", "--force-fallback-every", 2)

    def test_registration_that_always_fails(self):
        self.check(("auto_zc", "batch,auto_zc"), "--auto-zc-fallback", "--force-fallback-every", 1)

    def test_another_buffer_index_at_each_commit(self):
        self.check(("auto_zc", "batch,auto_zc"), "--rotate-buffers")

    def test_several_queues_and_daemons(self):
        self.check(("copy", "auto_zc", "batch", "batch,auto_zc"), "-q", 2)
        self.check(("batch", "batch,auto_zc"), "-q", 1, "--daemons", 2)

    def test_flush_and_forced_unit_access(self):
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", 64 << 20)
            for mode in MODES:
                for option in ("--fsync=8", "--sync=1"):
                    with self.subTest(mode=mode, option=option), \
                            Device("-m", mode, "-t", f"loop:{backing}") as device:
                        self.assertEqual(device.queue("write_cache"), "write back")
                        self.assertEqual(device.queue("fua"), "1")
                        succeed("fio", "--name=sync", f"--filename={device.path}", "--rw=randwrite",
                                "--bs=4k", "--size=512k", "--direct=1", "--ioengine=io_uring",
                                "--iodepth=4", "--thread", "--verify=crc32c",
                                "--verify_state_save=0", option)
                        flushes = int(pathlib.Path(
                            f"/sys/block/ublkb{device.id}/stat").read_text().split()[15])
                        if option == "--fsync=8":
                            self.assertGreater(flushes, 0)


if __name__ == "__main__":
    ublk.main()
