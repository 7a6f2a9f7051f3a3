#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every mode that this kernel grants, verified by contents; every refused one, refused by name."""

import json
import unittest

import ublk
from ublk import LONG, SERVER, UBLKBENCH, run, scratch_folder, sparse_file, succeed


def measure(*arguments, timeout_s=1800):
    done = run(UBLKBENCH, "--rw", "randrw", "--repeat", 1, "--control", "none", "--json", "-", *arguments,
               timeout_s=timeout_s)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def table():
    """Every combination of the vocabulary and what this kernel says to it."""
    return json.loads(succeed(UBLKBENCH, "modes", "--json"))["modes"]


class Modes(ublk.TestCase):
    def check_all(self, *arguments, contents=True):
        code, document, text = measure("--mode", "all", *arguments)
        failed = [f"{sample['cell']}: {sample['status']}: {sample.get('reason')}"
                  for sample in document.get("samples", ()) if sample["status"] != "ok"]
        self.assertEqual(code, 0, "\n".join(failed) or text[-2000:])
        seen = {cell["mode"] for cell in document["cells"]}
        left_out = " ".join(entry["mode"] for entry in document["run"]["modes_left_out"])
        for row in table():
            if row["status"] == "granted" and f"'{row['mode']}'" not in left_out:
                self.assertIn(row["mode"], seen)
        for sample in document["samples"]:
            with self.subTest(cell=sample["cell"]):
                self.assertEqual(sample["status"], "ok")
                if contents:
                    self.assertEqual(sample["verify"]["checked"], "contents")
                granted = set(sample["device"]["flags_granted"])
                self.assertLessEqual(set(sample["device"]["flags_requested"]), granted)
                if "shmem_zc" in sample["cell"]:
                    self.assertGreater(sample["server"]["shared_memory_hits"], 0)
                    self.assertEqual(sample["server"]["shared_memory_misses"], 0)
        return document

    def test_all_modes_keep_data_in_memory(self):
        self.check_all("--target", "mem:32M", "--verify", "--qd", 32, "--queues", 2, "--ios", 200)

    @unittest.skipUnless(LONG, "long")
    def test_all_modes_complete(self):
        self.check_all("--target", "null", "--verify", "off", "--qd", 1, "--ios", 100, contents=False)

    @unittest.skipUnless(LONG, "long")
    def test_all_modes_at_all_depths(self):
        for queues in (1, 2):
            self.check_all("--target", "mem:128M", "--verify", "--qd", "1,32,128", "--queues", queues, "--ios",
                           2000)

    @unittest.skipUnless(LONG, "long")
    def test_all_modes_on_files(self):
        with scratch_folder() as folder:
            one, two = (sparse_file(folder, name, 64 << 20) for name in ("one", "two"))
            for target in (f"loop:{one}", f"stripe:{one},{two}"):
                self.check_all("--target", target, "--destructive", "--verify", "--qd", "32", "--ios", 1000)

    def test_refused_combinations_are_refused(self):
        exits = {"refused": 2, "not served": 5}
        rows = [row for row in table() if row["status"] in exits]
        self.assertEqual({row["status"] for row in rows}, set(exits))
        for row in rows:
            with self.subTest(mode=row["mode"]):
                done = run(SERVER, "add", "-m", row["mode"])
                self.assertEqual(done.returncode, exits[row["status"]])
                self.assertIn(row["why"], done.stderr)

    def test_waiting_is_the_users_choice(self):
        for options in (("--spin-us", 200), ("--wait-count", 8, "--wait-us", 100), ("--spin-us", 50, "--wait-count", 4)):
            with self.subTest(options=options):
                code, _, text = measure("--mode", "copy", "--target", "mem:64M", "--verify", "--qd", 32, "--ios", 1000,
                                        *options)
                self.assertEqual(code, 0, text)

    def test_fetch_commands_of_any_number_and_size(self):
        for fetches, tags in ((1, 1), (3, 5), (4, 128)):
            with self.subTest(fetches=fetches, tags=tags):
                code, document, text = measure("--mode", "batch,auto_zc", "--target", "mem:64M", "--verify", "--qd", 32,
                                               "--queues", 2, "--daemons", 4, "--ios", 1000, "--fetches", fetches,
                                               "--fetch-tags", tags)
                self.assertEqual(code, 0, text)
                sizes = [size for size, _ in document["samples"][0]["server"]["fetch_batch"]["size_events"]]
                self.assertLessEqual(max(sizes), tags)

    def test_both_ways_to_wake(self):
        for way in ("eventfd", "msg_ring"):
            with self.subTest(way=way):
                code, document, text = measure("--mode", "offload,zc", "--target", "mem:64M", "--verify", "--qd", 32,
                                               "--ios", 1000, "--wake-by", way)
                self.assertEqual(code, 0, text)
                self.assertGreater(document["samples"][0]["server"]["wakes"], 0)


REGISTERED = {"zc", "auto_zc", "mixed"}


def polled_modes():
    return [row["mode"] for row in table() if row["status"] == "granted" and "iopoll" in row["mode"]]


class Polling(ublk.TestCase):
    """On a backend that polls: null_blk with poll queues, past its own memory."""

    def setUp(self):
        super().setUp()
        self.backend = self.enterContext(ublk.NullBlk("ubpoll", memory_backed=1, size=128, poll_queues=1,
                                                         submit_queues=2))

    def check(self, modes, *words):
        chosen = [word for mode in modes for word in ("--mode", mode)]
        code, document, text = measure(*chosen, "--target", f"loop:{self.backend.path}", "--destructive",
                                       "--verify", "on", *words)
        failed = [f"{sample['cell']}: {sample['status']}: {sample.get('reason')}"
                  for sample in document.get("samples", ()) if sample["status"] != "ok"]
        self.assertEqual(code, 0, "\n".join(failed) or text[-1500:])
        self.assertEqual({cell["mode"] for cell in document["cells"]}, set(modes))
        self.assertEqual({sample["verify"]["checked"] for sample in document["samples"]}, {"contents"})

    def test_registered_buffers_keep_data(self):
        """Those that memory cannot poll, and that the tests of all modes leave out."""
        modes = [mode for mode in polled_modes() if REGISTERED & set(mode.replace(":", ",").split(","))]
        self.check(modes, "--qd", 16, "--ios", 300)

    @unittest.skipUnless(LONG, "long")
    def test_polled_modes_at_all_depths(self):
        for queues in (1, 2):
            self.check(polled_modes(), "--qd", "1,32,128", "--ios", 2000, "--queues", queues)

    def test_a_backend_without_poll_queues_is_refused(self):
        # NVMe has none unless nvme.poll_queues says so.
        done = run(SERVER, "add", "-m", "iopoll", "-t", f"loop:{ublk.scratch_disk(0)}")
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertIn("poll", done.stderr)


if __name__ == "__main__":
    ublk.main()
