#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether what was read came from a disk at all is said in table and record: holes, preallocated
files, files in memory, the page cache."""

import json
import os
import pathlib
import tempfile

import jsonschema

import ublk
from ublk import UBLKBENCH, run

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "bench/record/schema/run.schema.json").read_text())
SIZE = 16 << 20
WORK = ("--warmup", "100", "--repeat", "1", "--control", "none", "--qd", "8")


class Storage(ublk.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(ublk.scratch_folder())
        if not os.path.exists("/dev/disk/by-ublkbench/scratch1"):
            self.skipTest("no scratch disk")

    def measure(self, *words, ios=1000, name="run.json"):
        path = self.folder / name
        done = run(UBLKBENCH, "--ios", ios, *WORK, *words, "--json", path, timeout_s=170)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        record = json.loads(path.read_text())
        jsonschema.validate(record, SCHEMA)
        return record, done.stdout

    def file(self, name, written):
        path = self.folder / name
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, SIZE) if name == "allocated" else file.truncate(SIZE)
            file.write(os.urandom(written))
            os.fsync(file.fileno())
        return path

    def test_holes_and_preallocated_files(self):
        for name, written, says in (("sparse", 0, "Only 0.0 % of loop:"), ("allocated", SIZE // 4, "Only 25.0 % of loop:"),
                                    ("written", SIZE, "")):
            with self.subTest(file=name):
                path = self.file(name, written)
                record, text = self.measure("--target", f"loop:{path}", name=f"{name}.json")
                self.assertEqual(record["samples"][0]["data"],
                                 {"written_bytes": written, "bytes": SIZE, "in_memory": False})
                self.assertIn(says, text)
                self.assertEqual("was ever written" in text, bool(says))
        # What read no disk is not compared with what did.
        done = run(UBLKBENCH, "compare", self.folder / "sparse.json", self.folder / "written.json")
        self.assertEqual(done.returncode, 4, done.stdout + done.stderr)
        self.assertIn("targets_with_holes", done.stdout + done.stderr)

    def test_a_file_in_memory(self):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            path = ublk.sparse_file(folder, "disk", SIZE)
            _, text = self.measure("--target", f"loop:{path}")
            self.assertIn(f"loop:{path} is in memory", text)

    def test_page_cache(self):
        record, text = self.measure("--target", "mem:16M", "--buffered", ios=20000)
        (sample,) = record["samples"]
        cache = sample["page_cache"]
        self.assertEqual(cache["start"], "empty")
        self.assertEqual(cache["load_read_bytes"], 20000 * 4096)
        # 20000 reads of 4096 blocks: the device cannot have given them all, and it gave the first.
        self.assertLess(cache["device_read_bytes"], cache["load_read_bytes"])
        self.assertRegex(text, r"empty at the start of each sample\.")
        self.assertRegex(text, r"(?m)^mode .* from-dev ")
        with ublk.Device("-t", "mem:16M") as device:
            # The last one to close a device empties its cache.
            with open(device.path, "rb") as cached:
                cached.read()
                record, text = self.measure("--device", device.path, "--buffered")
            cache = record["samples"][0]["page_cache"]
            self.assertEqual((cache["start"], cache["device_read_bytes"]), ("as found", 0))
            self.assertIn(f"as it was found for {device.path}", text)

    def test_direct_reads_come_from_the_device(self):
        record, text = self.measure("--target", "mem:16M")
        self.assertNotIn("page_cache", record["samples"][0])
        self.assertNotIn("from-dev", text)


if __name__ == "__main__":
    ublk.main()
