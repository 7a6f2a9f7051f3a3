#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A file system on the device: make, mount, copy a tree, unmount, check, mount again, compare."""

import pathlib
import tempfile

import ublk
from ublk import LONG, MODES, Device, succeed

TREE = "/usr/include" if LONG else "/usr/include/linux"

MAKE = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
CHECK = {"ext4": ("e2fsck", "-fn"), "xfs": ("xfs_repair", "-n")}


class FileSystems(ublk.TestCase):
    def keep_a_tree(self, device, kind):
        succeed(*MAKE[kind], device.path)
        with tempfile.TemporaryDirectory(prefix="ublkbench.") as folder:
            succeed("mount", "-t", kind, device.path, folder)
            try:
                succeed("cp", "-a", TREE, f"{folder}/tree", timeout_s=900)
            finally:
                succeed("umount", folder)
            succeed(*CHECK[kind], device.path)
            succeed("mount", "-o", "ro", "-t", kind, device.path, folder)
            try:
                succeed("diff", "-r", "--no-dereference", TREE, f"{folder}/tree", timeout_s=900)
                copied = sum(1 for _ in pathlib.Path(folder, "tree").rglob("*"))
                self.assertGreater(copied, 500)
            finally:
                succeed("umount", folder)

    def check(self, mode, target, kind):
        with self.subTest(mode=mode, target=target, kind=kind), \
                Device("-m", mode, "-t", target, "-q", 2) as device:
            self.keep_a_tree(device, kind)

    def test_memory(self):
        for mode, kind in (("copy", "ext4"), ("batch,auto_zc", "xfs")):
            self.check(mode, "mem:512M", kind)

    def test_every_mode_on_every_target(self):
        if not LONG:
            self.skipTest("runs with ctest -C Long")
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", 1 << 30)
            for target in ("mem:1G", f"loop:{backing}", f"loop:{ublk.scratch_disk(0)}"):
                for mode in MODES:
                    for kind in MAKE:
                        self.check(mode, target, kind)


if __name__ == "__main__":
    ublk.main()
