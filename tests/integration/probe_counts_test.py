#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The probes that count: wakeups, syscalls, interrupts, tags, zc, errors. Each against somebody else who counts
the same: the scheduler, the server, /proc/interrupts, a known number of stuck I/Os."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import ublk
from probing import LOAD, Attached, ProbeCase, attached_programs, load, long


def samples_of(*words, verify="off"):
    """The probed samples of a run, by mode; each with what the probe and the server counted."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "run.json"
        ublk.succeed(ublk.UBLKBENCH, *words, "--ios", "1000", "--warmup", "100", "--verify", verify, "--repeat", "1",
                     "--control", "none", "--json", path, timeout_s=400)
        record = json.loads(path.read_text())
    modes = {cell["id"]: cell["mode"] for cell in record["cells"] if cell["probes"]}
    return {modes[sample["cell"]]: sample for sample in record["samples"] if sample["cell"] in modes}


def inflight(device):
    return sum(map(int, pathlib.Path(f"/sys/block/ublkb{device.id}/inflight").read_text().split()))


@contextlib.contextmanager
def reads_in_flight(device, number, before_the_end=lambda: None):
    """So many reads that the device has during the with block, and that end at its end."""
    readers = [subprocess.Popen(["dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1", f"skip={at}",
                                 "iflag=direct"], stderr=subprocess.DEVNULL) for at in range(number)]
    try:
        ublk.wait_until(lambda: inflight(device) == number, f"{number} reads are in flight")
        yield
    finally:
        before_the_end()
        for reader in readers:
            reader.wait(timeout=60)


class Counters(ProbeCase):
    @long
    def test_a_tag_starved_device_is_called_so(self):
        starved = {}
        for jobs in (1, 4):
            with ublk.Device("-m", "copy", "-t", "null+fault:delay=1ms", "-d", 4) as device:
                with Attached("--dev", device.id, "--probe", "tags") as probe:
                    ublk.succeed(LOAD, device.path, "--ios", 100, "--warmup-ios", 10, "--depth", jobs, "--jobs", jobs,
                                 timeout_s=100)
            starved[jobs] = "tag-starved" in probe.record["text"]
        self.assertEqual(starved, {1: False, 4: True})

    @long
    def test_errors_are_counted(self):
        with ublk.Device("-m", "copy", "-t", "null+fault:error=EIO") as device:
            with Attached("--dev", device.id, "--probe", "errors") as probe:
                for _ in range(3):
                    done = ublk.run("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1", "iflag=direct")
                    self.assertNotEqual(done.returncode, 0)
            self.assertEqual(probe.record["probes"]["errors"]["failed_requests"], 3)

    def test_sleeps_are_those_that_the_scheduler_counts(self):
        def counted(pid):
            total = {"voluntary_ctxt_switches": 0, "nonvoluntary_ctxt_switches": 0}
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                for line in (task / "status").read_text().splitlines():
                    name, _, value = line.partition(":")
                    if name in total:
                        total[name] += int(value)
            return total

        with ublk.Device("-m", "batch", "-t", "null") as device:
            with Attached("--dev", device.id, "--probe", "wakeups") as probe:
                before = counted(device.server_pid)
                load(device, "--depth", 16)
                # Not asleep yet, perhaps: the counts hold still once it is.
                after = ublk.wait_until(
                    lambda: (now := counted(device.server_pid)) == (time.sleep(0.2), counted(device.server_pid))[1]
                    and now, "the server sleeps")
            tasks = probe.record["probes"]["wakeups"]["tasks"]
            for ours, kernels in (("sleeps", "voluntary_ctxt_switches"), ("preemptions", "nonvoluntary_ctxt_switches")):
                self.assertEqual(sum(task[ours] for task in tasks), after[kernels] - before[kernels], ours)
            self.assertGreater(sum(task["sleeps"] for task in tasks), 0)
            self.assertEqual(sum(waker["wakes"] for waker in probe.record["probes"]["wakeups"]["wakers"]),
                             sum(task["wakes"] for task in tasks))


class Syscalls(ProbeCase):
    def test_counts_what_the_server_counts(self):
        # The server's count of a call is seen with the first completion after it. Of the call that armed the device,
        # too: so it has had I/O before the probe comes.
        samples = samples_of("--mode", "copy", "--mode", "batch", "--probe", "syscalls", verify="on")
        self.assertEqual(set(samples), {"copy", "batch"})
        for mode, sample in samples.items():
            with self.subTest(mode=mode):
                probe = sample["probe"]["record"]["probes"]["syscalls"]
                server = sample["probe"]["server"]
                self.assertEqual(set(probe["totals"].values()), {0}, probe["totals"])
                self.assertEqual(probe["server_enters"], server["enters"])
                commits = sum(events for _size, events in server["commit_batch"]["size_events"])
                self.assertEqual(probe["commands"], server["committed_ios"] if mode == "copy"
                                 else commits + server["fetch_rearmed"])
                self.assertEqual(sum(events for _ns, events in probe["command_ns_events"]), probe["commands"])
                self.assertEqual(probe["security_calls"], probe["commands"])
                self.assertGreater(probe["security_ns"], 0)
                self.assertLess(probe["security_ns"], probe["command_ns"])
                # The load's own count is without its warm-up.
                self.assertGreaterEqual(probe["client_enters"], sample["load"]["enters"])
                self.assertEqual({task["role"] for task in probe["tasks"]}, {"server", "client"})

    @long
    def test_the_cheap_and_the_general_way_agree(self):
        with ublk.Device("-m", "copy", "-t", "null") as device:
            with Attached("--dev", device.id, "--probe", "syscalls") as cheap, \
                    Attached("--dev", device.id, "--probe", "syscalls", "--general") as general:
                load(device, "--depth", 16)
        one, other = (p.record["probes"]["syscalls"] for p in (cheap, general))
        self.assertIn("sys_enter", {hook for used in other["used"] for hook in used["hooks"]})
        for name in ("commands", "server_enters", "client_enters"):
            self.assertGreater(one[name], 0)
            self.assertEqual(one[name], other[name], name)
        self.assertLess(other["command_ns"], one["command_ns"])  # the driver's part only


class Interrupts(ProbeCase):
    def test_counts_what_the_kernel_counts(self):
        disk = pathlib.Path(ublk.scratch_disk(1)).resolve()

        def kernels():
            """Interrupts of the disk's vectors, and its I/Os."""
            lines = [line.split() for line in pathlib.Path("/proc/interrupts").read_text().splitlines()]
            controller = re.match(r"nvme\d+", disk.name).group()
            taken = {int(line[0].rstrip(":")): sum(int(word) for word in line[1:] if word.isdigit() and len(word) < 12)
                     for line in lines if re.match(rf"{controller}q\d+$", line[-1])}
            stat = pathlib.Path(f"/sys/block/{disk.name}/stat").read_text().split()
            return taken, int(stat[0]) + int(stat[4])

        with ublk.Device("-m", "copy", "-t", f"loop:{disk}") as device:
            with Attached("--dev", device.id, "--probe", "interrupts") as probe:
                taken, ios = kernels()
                ublk.succeed(LOAD, device.path, "--ios", 600, "--warmup-ios", 0, "--depth", 8, timeout_s=100)
                taken_after, ios_after = kernels()
        record = probe.record["probes"]["interrupts"]
        missed = record["totals"]["missed_runs"]  # an interrupt came while the program ran for another
        # What the disk's own handlers did; a shared vector would have another's name.
        seen = {vector["vector"]: vector for vector in record["vectors"] if vector["vector"] in taken}
        for vector, before in taken.items():
            self.assertAlmostEqual(seen[vector]["interrupts"] if vector in seen else 0, taken_after[vector] - before,
                                   delta=missed)
        self.assertGreaterEqual(ios_after - ios, 600)
        completed = sum(vector["completions"] for vector in seen.values())
        self.assertGreater(completed, 0)
        self.assertAlmostEqual(completed + record["totals"]["completions_elsewhere"], ios_after - ios, delta=missed)
        self.assertLess(missed, 60)


class InFlight(ProbeCase):
    def test_tags_in_flight_over_time(self):
        with ublk.Device("-m", "copy", "-t", "null", "-d", 4) as device:
            with Attached("--dev", device.id, "--probe", "tags") as probe:
                os.kill(device.server_pid, signal.SIGSTOP)
                with reads_in_flight(device, 3, lambda: os.kill(device.server_pid, signal.SIGCONT)):
                    time.sleep(1)
            (seen,) = probe.record["probes"]["tags"]["in_flight"]
        self.assertEqual(seen["device"], device.id)
        looks = dict(map(tuple, seen["tags_looks"]))
        self.assertEqual(sum(looks.values()), seen["looks"])
        self.assertEqual(max(looks), 3)
        self.assertGreater(looks[3], 10)  # of about 200 in that second
        self.assertEqual(max(interval["max"] for interval in seen["series"]), 3)
        self.assertAlmostEqual(sum(tags * count for tags, count in looks.items()) / seen["looks"], seen["mean"])
        self.assertIn(f"tags of device {device.id} in flight", probe.record["text"])


class Buffers(ProbeCase):
    def test_who_holds_a_buffer_for_how_long(self):
        hold_ns = 3_000_000_000
        # Long enough for a slow machine to start two clients and to end the probe meanwhile.
        with ublk.Device("-m", "auto_zc", "-t", "null+fault:delay=15s", "-d", 4, "--no-partition-scan") as device:
            with contextlib.ExitStack() as stack:
                with Attached("--dev", device.id, "--probe", "zc") as during:
                    stack.enter_context(reads_in_flight(device, 2))
            held_by = device.id
        with ublk.Device("-m", "auto_zc", "-t", "null+fault:delay=3s", "-d", 4, "--no-partition-scan") as device:
            with reads_in_flight(device, 2):
                pass  # before the probe: not its business
            with Attached("--dev", device.id, "--probe", "zc") as after:
                with reads_in_flight(device, 2):
                    pass
        held = during.record["probes"]["zc"]
        self.assertEqual((held["registrations"], held["releases"], held["buffers_held_now"]), (2, 0, 2))
        self.assertEqual({(buffer["device"], buffer["queue"]) for buffer in held["held_now"]}, {(held_by, 0)})
        self.assertEqual(len({buffer["tag"] for buffer in held["held_now"]}), 2)
        self.assertEqual(held["held_longest"], [])
        released = after.record["probes"]["zc"]
        self.assertEqual((released["registrations"], released["releases"], released["buffers_held_now"]), (2, 2, 0))
        for buffer in released["held_longest"]:
            self.assertGreaterEqual(buffer["held_ns"], hold_ns)
        self.assertEqual(len(released["held_longest"]), 2)

    def test_hits_and_misses_in_shared_memory(self):
        sample = samples_of("--mode", "shmem_zc", "--probe", "zc")["shmem_zc"]
        zc, server = sample["probe"]["record"]["probes"]["zc"], sample["probe"]["server"]
        self.assertEqual((zc["shmem_hits"], zc["shmem_misses"]),
                         (server["shared_memory_hits"], server["shared_memory_misses"]))
        self.assertGreaterEqual(zc["shmem_hits"], 1000)
        with ublk.Device("-m", "shmem_zc", "-t", "null") as device:
            with Attached("--dev", device.id, "--probe", "zc") as probe:
                ublk.succeed("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=7", "iflag=direct")
        zc = probe.record["probes"]["zc"]
        self.assertEqual((zc["shmem_lookups"], zc["shmem_hits"], zc["shmem_misses"]), (7, 0, 7))


class Twins(ProbeCase):
    """bpftrace's one-file twins say something beside a load."""

    def attached_for_good(self):
        """It attaches one program after the other."""
        now = attached_programs()
        time.sleep(1)
        return now - self.before and now == attached_programs()

    @long
    def test_each_prints_its_histograms(self):
        for name, maps in (("batch", ("fetch_batch", "commit_batch")),
                           ("latency", ("until_dispatched_ns", "until_completed_ns")),
                           ("wakeups", ("sleeps", "wakers", "run_queue_delay_ns"))):
            with self.subTest(script=name), ublk.Device("-m", "copy", "-t", "null") as device:
                script = pathlib.Path(__file__).resolve().parents[2] / f"probes/bt/{name}.bt"
                with tempfile.TemporaryFile("w+") as out:
                    process = subprocess.Popen(["bpftrace", script, str(device.server_pid)], stdin=subprocess.DEVNULL,
                                               stdout=out, stderr=subprocess.STDOUT)
                    try:
                        ublk.wait_until(self.attached_for_good, f"{script} attaches", timeout_s=120)
                        load(device, "--depth", 16)
                    finally:
                        process.send_signal(signal.SIGINT)
                        process.wait(timeout=60)
                    out.seek(0)
                    text = out.read()
                self.assertEqual(process.returncode, 0, text)
                for name_of_map in maps:
                    self.assertIn(f"@{name_of_map}", text)


if __name__ == "__main__":
    ublk.main()
