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
import typing

import ublk
from probing import LOAD, PROBE, Attached, ProbeCase, attached_programs, load, long


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


def switches(pid):
    """What the scheduler counts of all tasks of a process."""
    total = {"voluntary_ctxt_switches": 0, "nonvoluntary_ctxt_switches": 0}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in total:
                total[name] += int(value)
    return total


def switches_once_asleep(pid):
    """The counts hold still once a server sleeps; behind a load it may not sleep yet."""
    def held_still():
        now = switches(pid)
        time.sleep(0.2)
        return now if now == switches(pid) else None

    return ublk.wait_until(held_still, "the server sleeps")


def reads_of(device):
    """Reads that the block layer has completed (Documentation/block/stat.rst)."""
    return int(pathlib.Path(f"/sys/block/ublkb{device.id}/stat").read_text().split()[0])


@contextlib.contextmanager
def reads_in_flight(device, number, before_the_end=lambda: None):
    """So many reads that the device has during the with block, and that end at its end. Of a delay that a slow machine
    takes to start a client the first may have ended when the last begins."""
    before = reads_of(device)
    readers = [subprocess.Popen(["dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1", f"skip={at}",
                                 "iflag=direct"], stderr=subprocess.DEVNULL) for at in range(number)]
    try:
        ublk.wait_until(lambda: inflight(device) + reads_of(device) - before >= number, f"{number} reads are in flight")
        yield
    finally:
        before_the_end()
        for reader in readers:
            reader.wait(timeout=ublk.HANG_S)


class Counters(ProbeCase):
    @long
    def test_a_tag_starved_device_is_called_so(self):
        starved = {}
        for jobs in (1, 4):
            with ublk.Device("-m", "copy", "-t", "null+fault:delay=1ms", "-d", 4) as device:
                with Attached("--dev", device.id, "--probe", "tags") as probe:
                    ublk.succeed(LOAD, device.path, "--ios", 100, "--warmup", 10, "--depth", jobs, "--jobs", jobs)
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
        with ublk.Device("-m", "batch", "-t", "null") as device:
            with Attached("--dev", device.id, "--probe", "wakeups") as probe:
                before = switches(device.server_pid)
                load(device, "--depth", 16)
                after = switches_once_asleep(device.server_pid)
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
                # All the time attached: the device is idle at both ends of it.
                probe = sample["probe"]["record"]["attached"]["syscalls"]
                server = sample["probe"]["server"]
                missed = probe["totals"].pop("missed_runs")
                self.assertEqual(set(probe["totals"].values()), {0}, probe["totals"])
                self.assertAlmostEqual(probe["server_enters"], server["enters"], delta=missed)
                commits = sum(events for _size, events in server["commit_batch"]["size_events"])
                self.assertAlmostEqual(probe["commands"], server["committed_ios"] if mode == "copy"
                                       else commits + server["fetch_rearmed"], delta=missed)
                self.assertLess(missed, server["committed_ios"] / 20)
                self.assertAlmostEqual(sum(events for _ns, events in probe["command_ns_events"]), probe["commands"],
                                       delta=missed)
                self.assertAlmostEqual(probe["security_calls"], probe["commands"], delta=missed)
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
            controller = disk.name.rpartition("n")[0]
            taken = {int(line[0].rstrip(":")): sum(int(word) for word in line[1:] if word.isdigit() and len(word) < 12)
                     for line in lines if re.match(rf"{controller}q\d+$", line[-1])}
            stat = pathlib.Path(f"/sys/block/{disk.name}/stat").read_text().split()
            return taken, int(stat[0]) + int(stat[4])

        with ublk.Device("-m", "copy", "-t", f"loop:{disk}") as device:
            with Attached("--dev", device.id, "--probe", "interrupts") as probe:
                taken, ios = kernels()
                ublk.succeed(LOAD, device.path, "--ios", 600, "--warmup", 0, "--depth", 8)
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
                    ublk.let_others_run(1)
            (seen,) = probe.record["probes"]["tags"]["in_flight"]
        self.assertEqual(seen["device"], device.id)
        looks = dict(map(tuple, seen["tags_looks"]))
        self.assertEqual(sum(looks.values()), seen["looks"])
        self.assertEqual(max(looks), 3)
        self.assertGreater(looks[3], 10)  # of about 200 in that second
        self.assertEqual(max(interval["max"] for interval in seen["series"]), 3)
        self.assertAlmostEqual(sum(tags * count for tags, count in looks.items()) / seen["looks"], seen["mean"])
        self.assertIn(f"tags of device {device.id} in flight", probe.record["text"])


class Errors(ProbeCase):
    """Each is provoked so many times as is known; a server of its own makes no other."""

    DEPTH = 8

    def device(self, *words, delay="20s"):
        return ublk.Device("-t", f"null+fault:delay={delay}", "-d", self.DEPTH, "--no-partition-scan", *words)

    def killed_with_reads(self, number, *words, then=lambda device: None):
        """What was counted of a device whose server is killed with so many reads in its hands."""
        with self.device(*words) as device:
            def kill():
                os.kill(device.server_pid, signal.SIGKILL)
                then(device)

            with Attached("--dev", device.id, "--probe", "errors") as probe, reads_in_flight(device, number, kill):
                pass
        return probe.record["probes"]["errors"]

    @long
    def test_what_a_killed_server_had_is_failed_by_the_driver(self):
        counted = self.killed_with_reads(3, "-m", "copy")
        self.assertEqual((counted["failed_by_driver"], counted["failed_requests"], counted["requeued_requests"]),
                         (3, 3, 0))
        # The io commands of all tags are given back, those that fetch with their ring, and each by its own.
        self.assertGreaterEqual(counted["cancelled_commands"], self.DEPTH - 3)
        self.assertEqual((counted["timeouts"], counted["cancelled_fetches"], counted["fetches_without_room"]), (0, 0, 0))

    @long
    def test_a_killed_server_gives_its_fetches_back(self):
        counted = self.killed_with_reads(3, "-m", "batch", "--fetches", "2")
        self.assertEqual(counted["failed_by_driver"], 3)
        self.assertGreaterEqual(counted["cancelled_fetches"], 2)

    @long
    def test_what_is_reissued_is_requeued(self):
        def recover(device):
            ublk.wait_until(lambda: ublk.devices()[device.id]["state"] == "QUIESCED", "the device waits for a server")
            ublk.succeed(ublk.SERVER, "recover", "-n", device.id, "-t", "null", "--accept-other-data")

        counted = self.killed_with_reads(3, "-m", "copy", "--recovery", "reissue", then=recover)
        self.assertEqual((counted["failed_by_driver"], counted["failed_requests"]), (3, 0))
        # Again, too, while there is no server yet (ublk_queue_rq).
        self.assertGreaterEqual(counted["requeued_requests"], 3)
        self.assertEqual(counted["requeued_requests"] % 3, 0)

    @long
    def test_requests_that_run_out_of_time(self):
        """The driver sets the clock again, once a timeout, until the server answers (ublk_timeout)."""
        with self.device("-m", "copy", delay="6s") as device:
            with Attached("--dev", device.id, "--probe", "errors") as patient, reads_in_flight(device, 1):
                pass
            pathlib.Path(f"/sys/block/ublkb{device.id}/queue/io_timeout").write_text("1000")
            with Attached("--dev", device.id, "--probe", "errors") as impatient, reads_in_flight(device, 1):
                pass
        self.assertEqual(patient.record["probes"]["errors"]["timeouts"], 0)
        timeouts = impatient.record["probes"]["errors"]["timeouts"]
        self.assertGreaterEqual(timeouts, 2)
        self.assertLessEqual(timeouts, 6)


class Commands(ProbeCase):
    """The server counts what it registers, and the load what it was given."""

    @long
    def test_each_io_registers_and_unregisters_once(self):
        samples = samples_of("--mode", "zc", "--mode", "batch,zc", "--probe", "zc")
        self.assertEqual(set(samples), {"zc", "batch,zc"})
        for mode, sample in samples.items():
            with self.subTest(mode=mode):
                # Of a commit the server knows with the first completion after it.
                zc, ios = sample["probe"]["record"]["attached"]["zc"], sample["probe"]["server"]["fetched_ios"]
                self.assertGreaterEqual(ios, 1100)
                self.assertEqual((zc["register_commands"], zc["unregister_commands"]), (ios, ios))
                self.assertEqual((zc["registrations"], zc["releases"]), (ios, ios))
                self.assertEqual((zc["releases_off_task"], zc["failed_registrations"]), (0, 0))

    @long
    def test_a_registration_that_fails_is_told_from_one_that_does_not(self):
        with ublk.Device("-m", "auto_zc", "-t", "null", "--auto-zc-fallback", "--force-fallback-every", 2, "-d", 8,
                         "--no-partition-scan") as device:
            before = reads_of(device)
            with Attached("--dev", device.id, "--probe", "zc") as probe:
                load(device, "--depth", 8)
            ios = reads_of(device) - before
        zc = probe.record["probes"]["zc"]
        self.assertGreaterEqual(ios, 1600)
        # Each I/O registers once, with its fetch or, where that failed, by hand.
        self.assertEqual((zc["registrations"], zc["releases"]), (ios, ios))
        self.assertEqual(zc["failed_registrations"], zc["register_commands"])
        self.assertGreater(zc["failed_registrations"], ios // 4)
        self.assertLess(zc["failed_registrations"], ios)

    @long
    def test_what_a_killed_server_held_is_released_off_its_task(self):
        with ublk.Device("-m", "auto_zc", "-t", "null+fault:delay=20s", "-d", 8, "--no-partition-scan") as device:
            with Attached("--dev", device.id, "--probe", "zc") as probe, reads_in_flight(
                    device, 3, lambda: os.kill(device.server_pid, signal.SIGKILL)):
                pass
        zc = probe.record["probes"]["zc"]
        # The ring is taken down by a worker of the kernel (io_ring_exit_work).
        self.assertEqual((zc["registrations"], zc["releases"], zc["releases_off_task"]), (3, 3, 3))
        self.assertEqual(zc["buffers_held_now"], 0)

    @long
    def test_tags_that_a_fetch_finds(self):
        """What a fetch command finds in a queue's fifo it takes, by one completion or more."""
        sample = samples_of("--mode", "batch", "--qd", "16", "--probe", "tags")["batch"]
        tags, server = sample["probe"]["record"]["attached"]["tags"], sample["probe"]["server"]
        fetches = sum(events for _size, events in server["fetch_batch"]["size_events"])
        looks = sum(events for _tags, events in tags["fifo_tags_events"])
        self.assertEqual(looks, sum(events for _commands, events in tags["fetch_commands_events"]))
        found = [(tags_low, events) for tags_low, events in tags["fifo_tags_events"] if tags_low > 0]
        self.assertGreater(sum(events for _tags, events in found), 0)
        self.assertLessEqual(sum(events for _tags, events in found), fetches)
        # By powers of two; what comes while it takes is in no look.
        self.assertLessEqual(sum(tags_low * events for tags_low, events in found), server["fetched_ios"])
        self.assertGreater(sum(2 * tags_low * events for tags_low, events in found), server["fetched_ios"] // 2)


class Interval(ProbeCase):
    @long
    def test_each_picture_is_of_all_that_was_until_then(self):
        with ublk.Device("-m", "copy", "-t", "null", "--no-partition-scan") as device:
            before = reads_of(device)
            process = subprocess.Popen([PROBE, "--dev", str(device.id), "--probe", "errors", "--interval", "1s"],
                                       text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(process.kill)
            assert process.stderr
            self.assertIn("attached to ublk device", process.stderr.readline())
            done = []
            for _ in range(3):
                load(device, "--depth", 16)
                done.append(reads_of(device) - before)
                ublk.let_others_run(2.5)  # at least one picture while nothing is done
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=ublk.HANG_S)
        self.assertEqual(process.returncode, 130)
        pictured = [int(found) for found in re.findall(r"(?m)^ *(\d+) I/Os completed$", out)]
        self.assertEqual(pictured, sorted(pictured))
        self.assertLessEqual(set(done), set(pictured))
        self.assertEqual(pictured[-1], done[-1])


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
        zc, server = sample["probe"]["record"]["attached"]["zc"], sample["probe"]["server"]
        self.assertEqual((zc["shmem_hits"], zc["shmem_misses"]),
                         (server["shared_memory_hits"], server["shared_memory_misses"]))
        self.assertGreaterEqual(zc["shmem_hits"], 1000)
        with ublk.Device("-m", "shmem_zc", "-t", "null") as device:
            with Attached("--dev", device.id, "--probe", "zc") as probe:
                ublk.succeed("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=7", "iflag=direct")
        zc = probe.record["probes"]["zc"]
        self.assertEqual((zc["shmem_lookups"], zc["shmem_hits"], zc["shmem_misses"]), (7, 0, 7))


class Twins(ProbeCase):
    """bpftrace's one-file twins, against the block layer's and the scheduler's counts."""

    def attached_for_good(self):
        """It attaches one program after the other."""
        now = attached_programs()
        time.sleep(1)
        return now - self.before and now == attached_programs()

    @contextlib.contextmanager
    def beside(self, name, device):
        """The maps that it printed, by name, once the with block is over."""
        script = pathlib.Path(__file__).resolve().parents[2] / f"probes/bt/{name}.bt"
        maps: dict[str, typing.Any] = {}
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(["bpftrace", "-f", "json", script, str(device.server_pid)],
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            try:
                ublk.wait_until(self.attached_for_good, f"{script} attaches")
                yield maps
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=ublk.HANG_S)
            out.seek(0)
            text = out.read()
        self.assertEqual(process.returncode, 0, text)
        for line in text.splitlines():
            if (printed := json.loads(line) if line.startswith("{") else {}).get("type") in ("map", "hist"):
                maps |= printed["data"]

    def events(self, histogram):
        return sum(slot["count"] for slot in histogram)

    def bounds(self, histogram):
        """Least and most that the values of a histogram of powers of two add up to."""
        return (sum(slot["min"] * slot["count"] for slot in histogram),
                sum(slot["max"] * slot["count"] for slot in histogram))

    def loaded(self, name, mode):
        """What the twin says of a load, and the I/Os that the block layer counted meanwhile."""
        with ublk.Device("-m", mode, "-t", "null", "--no-partition-scan") as device:
            with self.beside(name, device) as maps:
                before = reads_of(device)
                load(device, "--depth", 16)
                ios = reads_of(device) - before
        return maps, ios

    @long
    def test_batches_hold_all_ios(self):
        for mode in ("copy", "batch"):
            with self.subTest(mode=mode):
                maps, ios = self.loaded("batch", mode)
                for name in ("@fetch_batch", "@commit_batch"):
                    least, most = self.bounds(maps[name])
                    self.assertLessEqual(least, ios, name)
                    self.assertGreaterEqual(most, ios, name)

    @long
    def test_each_io_has_its_latencies(self):
        for mode in ("copy", "batch"):
            with self.subTest(mode=mode):
                maps, ios = self.loaded("latency", mode)
                for name in ("@until_dispatched_ns", "@until_completed_ns"):
                    self.assertEqual(self.events(maps[name]), ios, name)

    @long
    def test_sleeps_are_those_that_the_scheduler_counts(self):
        with ublk.Device("-m", "copy", "-t", "null", "--no-partition-scan") as device:
            outside = switches(device.server_pid)["voluntary_ctxt_switches"]
            with self.beside("wakeups", device) as maps:
                inside = switches_once_asleep(device.server_pid)["voluntary_ctxt_switches"]
                load(device, "--depth", 16)
                inside = switches_once_asleep(device.server_pid)["voluntary_ctxt_switches"] - inside
            outside = switches(device.server_pid)["voluntary_ctxt_switches"] - outside
        sleeps = sum(maps["@sleeps"].values())
        self.assertGreater(inside, 0)
        self.assertGreaterEqual(sleeps, inside)
        self.assertLessEqual(sleeps, outside)
        # A task is known, and its wakes are, from its first sleep on.
        wakes = self.events(maps["@run_queue_delay_ns"])
        self.assertLessEqual(wakes, sleeps)
        self.assertGreater(wakes, sleeps // 2)


if __name__ == "__main__":
    ublk.main()
