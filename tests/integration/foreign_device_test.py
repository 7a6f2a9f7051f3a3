#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--device: what is said of a device that somebody else serves is true, measured, or '-'. Somebody
else is a server of ours that the run knows nothing of."""

import itertools
import json
import os
from typing import ClassVar

import jsonschema

import ublk
from ublkbench_test import QUICK, SCHEMA, UblkbenchCase


class ForeignDevice(UblkbenchCase):
    def test_what_the_kernel_says_of_device_and_server(self):
        with ublk.Device("-m", "auto_zc", "-q", "2", "-d", "64", "-t", "null") as device, \
                ublk.Device("-t", "null") as other:
            record, text, _ = self.bench("--device", device.path, "--qd", "4", *QUICK)
            self.assertNotEqual(device.server_pid, other.server_pid)
        self.assertIn(", 2 queue(s), 1 job(s), closed loop\n", text)
        self.assertIn(f"{device.path} is not this run's: ublk device {device.id} of depth 64, LIVE, served by "
                      f"'ublk-server' (process {device.server_pid}).\n", text)
        self.assertNotIn("fresh device", text)
        run = record["run"]
        self.assertIsNone(run["queues"])
        self.assertIsNone(run["daemons"])
        self.assertIsNone(run["work"]["max_io_bytes"])
        self.assertEqual(run["work"]["device"], {
            "queues": 2, "depth": 64, "max_io_bytes": 1 << 20, "server": "ublk-server",
            "flags": device.added["flags_granted"].split("|")})
        (sample,) = self.samples(record, "external")
        self.assertEqual({key: sample["device"][key] for key in ("id", "queues", "depth", "state")},
                         {"id": device.id, "queues": 2, "depth": 64, "state": "LIVE"})
        self.assertEqual(sample["device"]["server"],
                         {"pid": device.server_pid, "name": "ublk-server", "devices": [device.id]})
        process = sample["server_process"]
        self.assertEqual((process["pid"], process["name"]), (device.server_pid, "ublk-server"))
        self.assertGreater(process["cpu_ns"], 0)
        # All its threads lived on; two clocks of the kernel agree to a tick.
        self.assertAlmostEqual(sum(task["cpu_ns"] for task in process["tasks"]) / process["cpu_ns"], 1, delta=0.2)
        self.assertGreater(sample["per_io"]["server_cpu_ns"], 0)
        self.assertIsNone(sample["server"])
        # The control is as wide as what it is held against, and has a queue that polls.
        (control,) = self.samples(record, "control")
        self.assertEqual(control["device"]["queue_limits"]["hardware_queues"], 2 + 1)

    def test_one_process_that_serves_more_is_said_to(self):
        ublk.succeed(ublk.SERVER, "add", "--devices", "2", "-t", "null")
        ids = sorted(set(ublk.devices()) - self.devices_before)
        try:
            _, text, _ = self.bench("--device", f"/dev/ublkb{ids[0]}", "--control", "none", *QUICK)
        finally:
            for number in ids:
                ublk.run(ublk.SERVER, "del", "-n", number)
        self.assertIn("with 1 other device(s).", text)

    def test_verification_is_asked_for_and_done(self):
        words = ("--control", "none", "--qd", "4", *QUICK)
        with ublk.Device("-t", "mem:32M") as device:
            done = ublk.run(ublk.UBLKBENCH, "--device", device.path, "--verify", "on", *words)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(f"--verify on overwrites {device.path}, which this run did not make; allow it with "
                          "--destructive", done.stderr)
            record, text, _ = self.bench("--device", device.path, "--verify", "on", "--destructive", *words)
            self.assertEqual(self.samples(record, "external")[0]["verify"]["checked"], "contents")
            self.assertIn("contents", text)
            _, text, _ = self.bench("--device", device.path, *words)
            self.assertRegex(text, r"(?m)^\(/dev/ublkb.* off$")
        with ublk.Device("-t", "mem:32M+fault:torn=4k") as device:
            record, text, _ = self.bench("--device", device.path, "--verify", "on", "--destructive", *words, exit=6)
            self.assertEqual(self.samples(record, "external")[0]["status"], "failed")
            self.assertIn("FAILED", text)
        with ublk.Device("-t", "null") as device:
            _, text, _ = self.bench("--device", device.path, "--verify", "on", "--destructive", *words, exit=6)
            self.assertIn("if the device is to keep nothing (null), leave --verify off", text)
            done = ublk.run(ublk.BUILD / "bench/tools/ublk-load", device.path, "--verify", "--destructive")
            self.assertEqual(done.returncode, 6, done.stdout)
            self.assertIn("is checked with --stores-nothing", done.stdout)

    def test_a_write_names_the_device_that_it_overwrites(self):
        with ublk.Device("-t", "null") as device:
            done = ublk.run(ublk.UBLKBENCH, "--device", device.path, "--rw", "randwrite")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr, rf"'randwrite' overwrites {device.path}\b.*; allow it with --destructive")

    def test_no_ublk_device(self):
        with ublk.NullBlk("ublkbench-test-dev", submit_queues=2) as device:
            record, text, _ = self.bench("--device", device.path, "--control", "none", *QUICK)
            # Those that poll count as well (null_blk's poll_queues).
            queues = len(os.listdir(f"/sys/block/{os.path.basename(device.path)}/mq"))
        self.assertIn(f", {queues} queue(s), ", text)
        self.assertIn(f"{device.path} is not this run's.\n", text)
        self.assertEqual(record["run"]["device"], {"path": device.path, "queues": queues})

    def test_a_server_that_is_replaced_meanwhile(self):
        with ublk.Device("-t", "null", "-d", "64") as device:
            self.bench("--device", device.path, "--control", "none", "--qd", "1", *QUICK)
        # The same number, another depth: samples of both are not one run.
        with ublk.Device("-t", "null", "-d", "32", "-n", str(device.id)) as device:
            done = ublk.run(ublk.UBLKBENCH, "--device", device.path, "--control", "none", "--qd", "1", *QUICK,
                            "--resume", "--json", self.folder / "run.json")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr, r"(?m)^  device\.depth: record 64, asked 32$")

    def test_compare_names_what_is_not_known(self):
        ours, theirs = self.folder / "ours.json", self.folder / "theirs.json"
        with ublk.Device("-t", "null") as device:
            for path, words in ((theirs, ("--device", device.path)), (ours, ())):
                done = ublk.run(ublk.UBLKBENCH, *words, "--control", "none", *QUICK, "--json", path)
                self.assertEqual(done.returncode, 0, done.stderr)
                jsonschema.validate(json.loads(path.read_text()), SCHEMA)
        text = ublk.succeed(ublk.UBLKBENCH, "compare", ours, theirs)
        self.assertIn("work.daemons: 1 and unknown: whether it differs is not known", text)
        self.assertIn('work.device.server: unknown and "ublk-server"', text)


class Resume(UblkbenchCase):
    WORDS: ClassVar = {"--mode": "copy", "--qd": "4", "--control": "none", "--ios": "2000", "--warmup": "100", "--repeat": "1"}

    def first_run(self):
        self.bench(*itertools.chain.from_iterable(self.WORDS.items()))

    def resume(self, *words):
        """The same words but for these."""
        kept = ((word, value) for word, value in self.WORDS.items() if word not in words)
        return ublk.run(ublk.UBLKBENCH, *itertools.chain.from_iterable(kept), *words, "--resume", "--json",
                        self.folder / "run.json")

    def test_other_work_is_refused_whole(self):
        self.first_run()
        before = (self.folder / "run.json").read_bytes()
        for words, says in ((("--ios", "4k"), ["ios: record 2000, asked 4000"]),
                            (("--ios", "20k", "--jobs", "2", "--queues", "2", "--buffered", "--rate", "2k"),
                             ["ios: record 2000, asked 20000", "jobs: record 1, asked 2", "queues: record 1, asked 2",
                              "direct: record true, asked false", "rate_iops: record 0, asked 2000",
                              'loop: record "closed", asked "open"', "daemons: record 1, asked 2"]),
                            (("--spin-us", "20"), ["spin_us: record 0, asked 20"]),
                            (("--qd", "8"), ['cell "copy null qd=4 bs=4k randread": record yes, asked no',
                                             'cell "copy null qd=8 bs=4k randread": record no, asked yes'])):
            with self.subTest(words=words):
                done = self.resume(*words)
                self.assertEqual(done.returncode, 2, done.stderr)
                first, *rest = done.stderr.splitlines()
                self.assertRegex(first, rf"run\.json cannot be resumed: {len(says)} thing\(s\) differ")
                self.assertEqual(sorted(line.strip() for line in rest), sorted(says))
                self.assertEqual(done.stdout, "")
                self.assertEqual((self.folder / "run.json").read_bytes(), before)
                self.check_nothing_left()

    def test_more_rounds_of_the_same_are_added(self):
        self.first_run()
        done = self.resume("--repeat", "3", "--hang-timeout", "20s", "--format", "csv")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("1 samples taken over", done.stderr)
        record = json.loads((self.folder / "run.json").read_text())
        jsonschema.validate(record, SCHEMA)
        self.assertEqual(len(record["samples"]), 3)


class DryRun(UblkbenchCase):
    def test_the_warm_up_is_known(self):
        for words, says in ((("--rate", "1", "--ios", "3"), "about 6 s"),
                            (("--rate", "1", "--ios", "3", "--warmup", "2000"), "about 34 min"),
                            (("--bs", "4M", "--max-io", "4M", "--ios", "1000"), "moving about 5 G of data")):
            with self.subTest(words=words):
                text = ublk.succeed(ublk.UBLKBENCH, *words, "--control", "none", "--repeat", "1", "--dry-run")
                self.assertIn(says, text)

    def test_a_large_block_warms_up_with_few(self):
        record, _, _ = self.bench("--bs", "4M", "--max-io", "4M", "--qd", "2", "--ios", "20", "--repeat", "1",
                                  "--control", "none", "--verify", "off")
        (sample,) = self.samples(record)
        self.assertLessEqual(sample["load"]["warmup_ios"], 64)


if __name__ == "__main__":
    ublk.main()
