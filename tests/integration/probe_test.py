#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublk-probe on the real driver: its batches are those that the server itself counted, to the last
I/O; and whatever goes wrong is one line, with nothing left attached."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

import jsonschema

import ublk

PROBE = ublk.BUILD / "bench/tools/ublk-probe"
LOAD = ublk.BUILD / "bench/tools/ublk-load"
RUN_SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] /
                         "bench/record/schema/run.schema.json").read_text())
# Every delivery, and every way for it to be told where data is.
DELIVERIES = ("copy", "get_data", "per_io_daemon", "offload", "iopoll", "iopoll_split", "batch", "batch,offload")
if ublk.LONG:
    DELIVERIES += ("user_copy", "zc", "auto_zc", "shmem_zc", "mixed:8k", "per_io_daemon,auto_zc", "iopoll,auto_zc",
                   "batch,user_copy", "batch,zc", "batch,auto_zc", "batch,iopoll", "batch,iopoll_split")
QUICK = ("--ios", "1000", "--warmup", "100", "--verify", "off", "--repeat", "1", "--control", "none")


def attached_programs():
    return {program["id"] for program in json.loads(ublk.succeed("bpftool", "-j", "prog", "show"))
            if program["type"] in ("kprobe", "tracing")}


class Attached:
    """ublk-probe as long as the with block lasts; then .record is what it wrote."""

    def __init__(self, *words):
        self.words = words

    def __enter__(self):
        ready, ready_writer = os.pipe()
        with open(ready_writer, "wb"):
            self.process = subprocess.Popen(
                [PROBE, *map(str, self.words), "--json", "-", "--ready-fd", str(ready_writer)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                pass_fds=(ready_writer,))
        with open(ready, "rb") as file:
            if not file.read(1):
                raise AssertionError(self.process.communicate()[1])
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, self.errors = self.process.communicate(timeout=60)
        self.exit = self.process.returncode
        self.record = json.loads(out) if self.exit == 0 else None

    def batch(self, name):
        return self.record["probes"]["batch"][name]


def load(device, *words):
    ublk.succeed(LOAD, device.path, "--ios", 1500, "--warmup-ios", 100, *words, timeout_s=100)


class ProbeCase(ublk.TestCase):
    def setUp(self):
        super().setUp()
        self.before = attached_programs()
        # The kernel frees them after a grace period.
        self.addCleanup(ublk.wait_until, lambda: attached_programs() <= self.before, "no program is left attached")


class Batch(ProbeCase):
    def test_counts_what_the_server_counts(self):
        modes = [word for mode in DELIVERIES for word in ("--mode", mode)]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "run.json"
            text = ublk.succeed(ublk.UBLKBENCH, *modes, "--rw", "randrw", "--qd", "128", *QUICK,
                                "--probe", "batch", "--json", path, timeout_s=800)
            record = json.loads(path.read_text())
        jsonschema.validate(record, RUN_SCHEMA)
        probed = {cell["id"]: cell["mode"] for cell in record["cells"] if cell["probes"]}
        self.assertEqual(set(probed.values()), set(DELIVERIES))
        seen = set()
        for sample in record["samples"]:
            if sample["cell"] not in probed:
                self.assertNotIn("probe", sample)
                continue
            with self.subTest(cell=sample["cell"]):
                self.assertEqual(sample["status"], "ok", sample.get("reason"))
                batch = sample["probe"]["record"]["probes"]["batch"]
                server = sample["probe"]["server"]
                self.assertGreaterEqual(server["fetched_ios"], 1000)
                self.assertEqual(batch["fetch_batch"]["size_events"],
                                 server["fetch_batch"]["size_events"])
                self.assertEqual(batch["commit_batch"]["size_events"],
                                 server["commit_batch"]["size_events"])
                for name in ("lost_events", "unread_sqes", "resubmitted_sqes", "aborted_ios", "requeued_ios",
                             "missed_runs"):
                    self.assertEqual(batch["totals"][name], 0, name)
                seen.add(probed[sample["cell"]])
        self.assertEqual(seen, set(DELIVERIES))
        self.assertIn("@fetch_batch:", text)
        self.assertIn("@commit_batch:", text)
        self.assertIn("x unprobed", text)

    @unittest.skipUnless(ublk.LONG, "takes long")
    def test_the_cheap_and_the_general_way_agree(self):
        for mode in ("copy", "get_data"):
            with self.subTest(mode=mode), ublk.Device("-m", mode, "-t", "null") as device:
                with Attached("--dev", device.id) as cheap, \
                        Attached("--dev", device.id, "--general") as general:
                    load(device, "--rw", "randrw", "--destructive", "--depth", 64)
                hooks = [{h for used in p.batch("used") for h in used["hooks"]}
                         for p in (cheap, general)]
                self.assertIn("ublk_cmd_list_tw_cb", hooks[0])
                self.assertIn("io_uring_complete", hooks[1])
                for name in ("fetch_batch", "commit_batch"):
                    self.assertTrue(cheap.batch(name)["size_events"])
                    self.assertEqual(cheap.batch(name), general.batch(name))

    def test_client_and_server_are_told_apart(self):
        with ublk.Device("-m", "batch", "-t", "null") as device:
            with Attached("--pid", device.server_pid) as probe:
                load(device, "--depth", 32, "--submit-batch", 8)
            names = {part["task"]["name"] for part in probe.batch("parts")
                     if part["histogram"] == "client_sqes"}
            self.assertEqual(len(names), 1, names)
            servers = {part["task"]["name"] for part in probe.batch("parts")
                       if part["histogram"] == "server_sqes"}
            self.assertTrue(servers and servers.isdisjoint(names), (servers, names))
            queued = sum(size * events for size, events in probe.batch("queued_requests")["size_events"])
            self.assertEqual(queued, probe.batch("totals")["fetched_ios"])

    @unittest.skipUnless(ublk.LONG, "takes long")
    def test_largest_geometry(self):
        queues = min(8, os.cpu_count())
        with ublk.Device("-m", "batch", "-t", "null", "-q", queues, "-d", 4096, "--max-io", "4k") as device:
            with Attached("--dev", device.id) as probe:
                load(device, "--depth", 1024)
            totals = probe.batch("totals")
            self.assertEqual(totals["fetched_ios"], totals["committed_ios"])
            self.assertGreaterEqual(totals["fetched_ios"], 1500)


class Trouble(ProbeCase):
    def fails(self, code, pattern, *words, **options):
        done = ublk.run(*words, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, rf"^ublk-probe: [^\n]*{pattern}[^\n]*\n$")

    def test_bad_input(self):
        for pattern, *words in (("no ublk device 77", "--dev", 77), ("--dev x", "--dev", "x"),
                                ("unknown probe 'y'", "--probe", "y"),
                                ("serves no ublk device", "--pid", 1),
                                ("time of 0", "--duration", "0"), ("--nonsense", "--nonsense")):
            with self.subTest(words=words):
                self.fails(2, pattern, PROBE, *words)

    def test_no_permission(self):
        self.fails(5, "run as root", "setpriv", "--reuid", 65534, "--clear-groups", PROBE)

    def test_no_kernel_types(self):
        self.fails(5, "CONFIG_DEBUG_INFO_BTF", "unshare", "--mount", "sh", "-c",
                   f"mount -t tmpfs none /sys/kernel/btf && exec {PROBE}")

    def test_device_vanishes(self):
        device = ublk.Device("-m", "copy", "-t", "null")
        with device, Attached("--dev", device.id) as probe:
            load(device, "--depth", 16)
            ublk.succeed(ublk.SERVER, "del", "-n", device.id)
            ublk.wait_until(lambda: probe.process.poll() is not None, "ublk-probe ends")
        self.assertEqual(probe.exit, 0)
        self.assertIn(f"device {device.id} was removed", probe.errors)
        self.assertEqual(probe.record["ending"], "device removed")
        self.assertGreaterEqual(probe.batch("totals")["committed_ios"], 1500)

    def test_ctrl_c_shows_what_was_counted(self):
        with ublk.Device("-m", "copy", "-t", "null") as device, contextlib.ExitStack() as stack:
            process = subprocess.Popen([PROBE, "--dev", str(device.id)], text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            stack.callback(process.kill)
            self.assertIn("attached to ublk device", process.stderr.readline())
            self.assertTrue(attached_programs() - self.before)
            load(device, "--depth", 16)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130)
            self.assertRegex(out, r"(?m)^@fetch_batch: $")
            self.assertRegex(out, r"(?m)^\[\d+K?(, \d+K?\))?\]? +\d+ \|@* *\|$")


if __name__ == "__main__":
    ublk.main()
