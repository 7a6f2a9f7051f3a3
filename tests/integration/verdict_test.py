#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublkbench explain on the real driver: each bottleneck is made, and named. What makes them does not depend on
how fast the machine is; tests/python/test_explain.py has their limits."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

import ublk
from probing import ProbeCase, long

# Few I/Os: where latency follows one of N only, all of them are followed here.
os.environ.setdefault("UBLKBENCH_PROBE_SAMPLE", "1")
PROBES = "latency,tags"  # the rest is in the records of our own server


class CpuQuota:
    """A cgroup (v2) whose processes get so many percent of a CPU."""

    def __init__(self, percent):
        mounted = [line.split()[1] for line in open("/proc/mounts", encoding="utf-8") if line.split()[2] == "cgroup2"]
        if not mounted:
            raise unittest.SkipTest("no cgroup2 is mounted")
        self.root = pathlib.Path(mounted[0])
        if "cpu" not in (self.root / "cgroup.controllers").read_text().split():
            raise unittest.SkipTest("the cpu controller is not in cgroup v2 here")
        (self.root / "cgroup.subtree_control").write_text("+cpu")
        self.path = self.root / f"ublkbench-test-{os.getpid()}"
        self.path.mkdir()
        (self.path / "cpu.max").write_text(f"{percent * 1000} 100000")

    def add(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid))

    def release(self, pid):
        (self.root / "cgroup.procs").write_text(str(pid))

    def remove(self):
        ublk.wait_until(lambda: not (self.path / "cgroup.procs").read_text(), "the group is empty")
        self.path.rmdir()


class Verdicts(ProbeCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.record = pathlib.Path(folder.name) / "run.json"

    def words(self, *words, probes=PROBES):
        return [ublk.UBLKBENCH, "--probe", probes, "--json", self.record, "--repeat", "1", "--control", "none",
                "--verify", "off", *words]

    def explained(self):
        """The probed cell's verdict."""
        cells = json.loads(ublk.succeed(ublk.UBLKBENCH, "explain", self.record, "--json"))["cells"]
        (cell,) = (cell for cell in cells if "probes=" in cell["cell"])
        return cell

    def check(self, name, *words, probes=PROBES):
        text = ublk.succeed(*self.words(*words, probes=probes))
        cell = self.explained()
        self.assertEqual(cell["verdict"], name, cell)
        if probes == PROBES:
            self.assertEqual(cell["not_looked_at"], [])
        self.assertIn(cell["headline"], text)
        return cell

    def test_tag_starved(self):
        cell = self.check("tag_starved", "--qd", "2", "--jobs", "8", "--target", "null+fault:delay=2ms", "--ios", "300",
                          "--warmup", "30")
        self.assertGreater(cell["figures"]["tag_waits_per_io"], 0.5)

    def test_waiting_on_backend(self):
        self.check("waiting_on_backend", "--qd", "4", "--target", "null+fault:delay=2ms", "--ios", "200", "--warmup",
                   "20")

    def test_server_saturated(self):
        """It copies 256k an I/O twice; the client touches no byte."""
        self.check("server_saturated", "--qd", "16", "--target", "mem:64M", "--bs", "256k", "--ios", "100", "--warmup",
                   "16")

    def test_wakeup_bound(self):
        cell = self.check("wakeup_bound", "--qd", "1", "--server-cpus", "free", "--ios", "100", "--warmup", "10")
        self.assertGreaterEqual(cell["figures"]["sleeps_per_io"], 0.9)

    def test_batch_too_small(self):
        """Each tag has a task of its own, so no fetch can bring two. Of 64 tags the load has far more than 8 in flight,
        however late it submits anew what it has reaped."""
        cell = self.check("batch_too_small", "--mode", "per_io_daemon", "--daemons", "64", "--qd", "64", "--ios",
                          "1600", "--warmup", "130")
        self.assertEqual(cell["figures"]["fetch_batch"], 1)

    @long
    def test_client_saturated(self):
        """All that it reads is in the page cache."""
        self.check("client_saturated", "--qd", "4", "--target", "mem:4M", "--buffered", "--ios", "20000", "--warmup",
                   "8000")

    @long
    @unittest.skipUnless(ublk.IN_VM, "takes CPUs away: only in the VM of scripts/vm")
    def test_cpus_saturated(self):
        """Server and client share the only CPU, where both always have something to do; `tags` would take its part."""
        for cpu in pathlib.Path("/sys/devices/system/cpu").glob("cpu[1-9]*/online"):
            if cpu.read_text().strip() == "1":
                self.addCleanup(cpu.write_text, "1")
                cpu.write_text("0")
        self.check("cpus_saturated", "--qd", "128", "--target", "null", "--ios", "8000", "--warmup", "500",
                   probes="batch")

    def test_open_loop_backlog(self):
        """Far more is due than 2 x 4 can have in flight: what waits in the load is not in flight at the device, and no
        reason to call batches small."""
        ublk.succeed(*self.words("--qd", "4", "--jobs", "2", "--rate", "100k", "--target", "null+fault:delay=2ms",
                                 "--ios", "600", "--warmup", "50"), timeout_s=300)
        cell = self.explained()
        self.assertLessEqual(cell["figures"]["in_flight_ios"], 8)
        self.assertGreater(cell["figures"]["backlog_ios"], 16)
        self.assertNotEqual(cell["verdict"], "batch_too_small")
        self.assertIn("I/Os are due and wait in the load", ublk.succeed(ublk.UBLKBENCH, "explain", self.record))

    def quota(self, percent):
        group = CpuQuota(percent)
        self.addCleanup(group.remove)
        return group

    @long
    def test_a_throttled_server(self):
        group = self.quota(5)
        with ublk.Device("-m", "copy", "-t", "null") as device:
            group.add(device.server_pid)
            text = ublk.succeed(*self.words("--device", device.path, "--qd", "32", "--runtime", "3s", "--warmup",
                                            "100ms", "--hang-timeout", "120s"), timeout_s=300)
            group.release(device.server_pid)
        self.check_throttled("server_throttled", "server_quota_cpus", 0.05, text)

    @long
    def test_a_throttled_load(self):
        group = self.quota(20)
        with ublk.Device("-m", "copy", "-t", "null") as device:
            text = ublk.succeed("sh", "-c", f'echo $$ > {group.path}/cgroup.procs && exec "$@"', "sh",
                                *self.words("--device", device.path, "--qd", "32", "--runtime", "3s", "--warmup",
                                            "100ms", "--hang-timeout", "120s", probes="tags"), timeout_s=500)
        self.check_throttled("client_throttled", "load_quota_cpus", 0.2, text)

    def check_throttled(self, verdict, quota, cpus, text):
        cell = self.explained()
        self.assertEqual(cell["verdict"], verdict, cell)
        self.assertAlmostEqual(cell["figures"][quota], cpus)
        self.assertIn("CPU quota of its cgroup", text)

    def test_rate_limited(self):
        self.check("rate_limited", "--qd", "8", "--rate", "50", "--ios", "150", "--warmup", "10")

    @long
    def test_one_tag_a_fetch(self):
        """The server has nothing to wait for, but each completion brings it one tag: that is named, too."""
        ublk.succeed(*self.words("--mode", "batch", "--fetch-tags", "1", "--qd", "32", "--ios", "1000", "--warmup",
                                 "100"))
        self.assertIn("batch_too_small", [rule["name"] for rule in self.explained()["found"]])

    @long
    def test_without_probes_it_says_what_is_missing(self):
        with ublk.Device("-m", "copy", "-t", "null") as device:
            ublk.succeed(ublk.UBLKBENCH, "--device", device.path, "--qd", "4", "--ios", "300", "--repeat", "1",
                         "--control", "none", "--json", self.record)
        (cell,) = json.loads(ublk.succeed(ublk.UBLKBENCH, "explain", self.record, "--json"))["cells"]
        self.assertEqual(cell["verdict"], "cannot_tell")
        self.assertIn("--probe latency", cell["headline"])

    @long
    def test_server_stalled(self):
        """Stopped for as long as the load has run, and a second, while the window lasts."""

        def reads(device):
            return int(pathlib.Path(f"/sys/block/ublkb{device.id}/stat").read_text().split()[0])

        def probing():
            return ublk.run("pgrep", "-x", "ublk-probe").returncode == 0

        with ublk.Device("-m", "copy", "-t", "null") as device:
            run = subprocess.Popen([str(word) for word in self.words("--device", device.path, "--qd", "128", "--runtime",
                                                                     "10s", "--warmup", "0s")],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            try:
                ublk.wait_until(probing, "ublk-probe runs")
                begin = reads(device)  # nothing is read until it is attached
                ublk.wait_until(lambda: reads(device) > begin + 300, "the probed load runs")
                os.kill(device.server_pid, signal.SIGSTOP)
                time.sleep(4)
                os.kill(device.server_pid, signal.SIGCONT)
                self.assertEqual(run.wait(timeout=ublk.HANG_S), 0)
            finally:
                run.kill()
        cell = self.explained()
        self.assertEqual(cell["verdict"], "server_stalled", cell)


if __name__ == "__main__":
    ublk.main()
