#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublk-probe on the real driver: its batches are those that the server itself counted, to the last
I/O, the stages of each request add up; and whatever goes wrong is one line, with nothing left attached."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import jsonschema

import ublk
from probing import LOAD, PROBE, QUICK, Attached, ProbeCase, attached_programs, load, long

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
KUBLK = pathlib.Path(os.environ.get("UBLKBENCH_KUBLK", REPOSITORY / "build/peers/kublk"))
RUN_SCHEMA = json.loads((REPOSITORY / "bench/record/schema/run.schema.json").read_text())
# Every delivery, and every way for it to be told where data is.
DELIVERIES: tuple[str, ...] = ("copy", "get_data", "per_io_daemon", "offload", "iopoll", "iopoll_split", "batch", "batch,offload")
if ublk.LONG:
    DELIVERIES += ("user_copy", "zc", "auto_zc", "shmem_zc", "mixed:8k", "per_io_daemon,auto_zc", "iopoll,auto_zc",
                   "batch,user_copy", "batch,zc", "batch,auto_zc", "batch,iopoll", "batch,iopoll_split")


def completed_reads(device):
    """Since the device was made, as the block layer counts them."""
    return int(pathlib.Path(f"/sys/block/ublkb{device.id}/stat").read_text().split()[0])


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
                # All the time attached: the device is idle at both ends of it.
                batch = sample["probe"]["record"]["attached"]["batch"]
                server = sample["probe"]["server"]
                self.assertGreaterEqual(server["fetched_ios"], 1000)
                for name in ("fetch_batch", "commit_batch"):
                    self.check_events(batch[name], server[name], batch["totals"]["missed_runs"])
                for name in ("lost_events", "sqpoll_ios", "resubmitted_sqes", "aborted_ios", "requeued_ios"):
                    self.assertEqual(batch["totals"][name], 0, name)
                seen.add(probed[sample["cell"]])
        self.assertEqual(seen, set(DELIVERIES))
        self.assertRegex(text, r"(?m)^fetch_batch +\d+ .*\|[ .:=+*#%@-]+\|$")
        self.assertNotIn("@fetch_batch:", text)
        self.assertIn("x unprobed", text)

    def check_events(self, probe, server, missed):
        """A run that the kernel skipped, as a busy guest makes it now and then, is an event of another size or none."""
        counted, truth = (dict(side["size_events"]) for side in (probe, server))
        off = sum(abs(counted.get(size, 0) - truth.get(size, 0)) for size in counted | truth)
        self.assertLessEqual(off, 2 * missed, (counted, truth))

    @long
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

    def test_the_general_way_counts_no_less(self):
        with ublk.Device("-m", "batch", "-t", "null") as device:
            with Attached("--dev", device.id) as cheap, Attached("--dev", device.id, "--general") as general:
                load(device, "--rw", "randrw", "--destructive", "--depth", 64)
        hooks = [{h for used in p.batch("used") for h in used["hooks"]} for p in (cheap, general)]
        self.assertIn("blk_mq_dispatch_queue_requests", hooks[0])
        self.assertIn("ublk_batch_queue_rqs", hooks[1])
        for name in ("fetch_batch", "commit_batch", "queued_requests"):
            ios = [sum(size * events for size, events in p.batch(name)["size_events"]) for p in (cheap, general)]
            self.assertGreaterEqual(ios[0], 1600, name)
            self.assertEqual(ios[0], ios[1], name)

    @long
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

STAGES = ("dispatch", "wake", "server", "target", "commit", "complete")


class Latency(ProbeCase):
    def check_whole(self, probe, ios, depth):
        """Nothing is missing, and the stages add up to the nanosecond."""
        totals = dict(probe.latency("totals"))
        self.assertGreaterEqual(totals["requests"], ios)
        # What each server task had fetched first, and again after a return that the kernel did not report.
        self.assertLessEqual(totals["unseen_return_ios"], depth * (4 + totals["missed_runs"]))
        self.assertEqual(totals["finished_ios"] + totals["unseen_return_ios"], totals["begun_ios"])
        for name in ("in_flight_ios", "lost_ios", "uncommitted_ios", "requeued_ios", "untracked_ios", "unsplit_ios",
                     "unread_sqes"):
            self.assertEqual(totals[name], 0, totals)
        stages = probe.latency("stages_ns")
        counts = {stages[name]["count"] for name in (*STAGES, "total")}
        self.assertEqual(counts, {totals["finished_ios"]})
        self.assertEqual(sum(stages[name]["sum"] for name in STAGES), stages["total"]["sum"])
        for parts in ("sizes", "queues"):
            classes = probe.latency(parts)
            self.assertEqual(sum(part["ios"] for part in classes), totals["finished_ios"])
            for name in (*STAGES, "total"):
                self.assertEqual(sum(part["stages_ns"][name]["sum"] for part in classes), stages[name]["sum"], name)
                self.assertEqual({part["stages_ns"][name]["count"] - part["ios"] for part in classes}, {0}, name)

    @long
    def test_stages_of_every_request_add_up(self):
        for mode in DELIVERIES:
            with self.subTest(mode=mode), ublk.Device("-m", mode, "-t", "null") as device:
                with Attached("--dev", device.id, "--probe", "batch,latency", "--sample", 1) as probe:
                    load(device, "--rw", "randrw", "--destructive", "--depth", 64)
                self.check_whole(probe, 1600, 64)
                self.assertEqual(probe.latency("totals")["begun_ios"], probe.latency("totals")["requests"])
                self.assertEqual(set(probe.latency("ops_ns")), {"read", "write"})

    def test_every_fifth_request_is_followed(self):
        for mode in ("copy", "batch"):
            with self.subTest(mode=mode), ublk.Device("-m", mode, "-t", "null") as device:
                with Attached("--dev", device.id, "--probe", "latency", "--sample", 5) as probe:
                    before = completed_reads(device)
                    load(device, "--depth", 64)
                    requests = completed_reads(device) - before
                self.check_whole(probe, 1600, 64)
                self.assertEqual(probe.latency("sample"), 5)
                totals = probe.latency("totals")
                self.assertEqual(totals["requests"], requests)
                # Each CPU counts for itself, and follows its first.
                self.assertGreaterEqual(totals["begun_ios"], requests / 5)
                self.assertLess(totals["begun_ios"], requests / 5 + os.cpu_count())
                self.assertIn(f"1 of 5 requests is followed: {totals['begun_ios']} of {requests}\n",
                              probe.record["text"])

    @long
    def test_sizes_are_told_apart(self):
        with ublk.Device("-m", "copy", "-t", "null") as device:
            with Attached("--dev", device.id, "--probe", "latency", "--sample", 1) as probe:
                for size in ("4k", "16k", "256k"):
                    load(device, "--depth", 16, "--bs", size)
            self.check_whole(probe, 4800, 16)
            self.assertEqual([part["size"] for part in probe.latency("sizes")], ["4k", "16k", "256k"])
            for part in probe.latency("sizes")[1:]:
                self.assertGreaterEqual(part["ios"], 1600)
            self.assertRegex(probe.record["text"], r"(?m)^256k +read +16\d\d ")

    def test_a_slow_target_is_the_target(self):
        delay_ns = 2_000_000
        for mode in ("copy", "batch"):
            with self.subTest(mode=mode), \
                    ublk.Device("-m", mode, "-t", "null+fault:delay=2ms") as device:
                with Attached("--dev", device.id, "--probe", "latency", "--sample", 1) as probe:
                    ublk.succeed(LOAD, device.path, "--ios", 100, "--warmup", 10, "--depth", 4)
                self.check_whole(probe, 110, 4)
                stages = probe.latency("stages_ns")
                self.assertGreaterEqual(stages["target"]["min"], delay_ns)
                for name in set(STAGES) - {"target"}:
                    self.assertLess(stages[name]["min"], delay_ns, name)

    @long
    def test_a_stopped_server_does_not_dispatch(self):
        with ublk.Device("-m", "copy", "-t", "null") as device:
            read = ("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1", "iflag=direct")
            with Attached("--dev", device.id, "--probe", "latency", "--sample", 1) as probe:
                ublk.succeed(*read)  # after which the server's task is known
                os.kill(device.server_pid, signal.SIGSTOP)
                try:
                    reader = subprocess.Popen(read, stderr=subprocess.DEVNULL)
                    inflight = pathlib.Path(f"/sys/block/ublkb{device.id}/inflight")
                    ublk.wait_until(lambda: inflight.read_text().split()[0] == "1", "the read is in flight")
                    begin_ns = time.monotonic_ns()
                    time.sleep(1)
                    held_ns = time.monotonic_ns() - begin_ns
                finally:
                    os.kill(device.server_pid, signal.SIGCONT)
                self.assertEqual(reader.wait(timeout=ublk.HANG_S), 0)
            self.check_whole(probe, 2, 1)
            stages = probe.latency("stages_ns")
            self.assertGreaterEqual(stages["dispatch"]["max"], held_ns)
            for name in set(STAGES) - {"dispatch"}:
                self.assertLess(stages[name]["max"], held_ns, name)

    @long
    def test_no_room_for_the_tags_is_said(self):
        with ublk.Device("-m", "copy", "-t", "null", "-d", 128) as roomy, \
                ublk.Device("-m", "batch", "-t", "null", "-d", 128) as late:
            with Attached("--probe", "latency", "--max-tags", 200, "--sample", 1) as probe:
                before = completed_reads(roomy), completed_reads(late)
                load(roomy, "--depth", 16)
                load(late, "--depth", 16)
                begun, untracked = (completed_reads(roomy) - before[0], completed_reads(late) - before[1])
            totals = probe.latency("totals")
            self.assertEqual(totals["requests"], begun + untracked)
            self.assertEqual(totals["untracked_ios"], untracked)
            self.assertEqual(totals["begun_ios"], begun)
            self.assertEqual(totals["finished_ios"] + totals["unseen_return_ios"], begun)
            self.assertEqual(probe.latency("stages_ns")["total"]["count"], totals["finished_ios"])
            self.assertRegex(probe.record["text"], r"(?m)^\d+ I/Os are in no histogram: no room .*--max-tags$")

    @long
    def test_largest_geometry(self):
        queues = min(8, os.cpu_count() or 1)  # the driver gives no more queues than there are CPUs
        with ublk.Device("-m", "batch", "-t", "null", "-q", queues, "-d", 4096, "--max-io", "4k") as device:
            with Attached("--dev", device.id, "--probe", "batch,latency", "--sample", 1) as probe:
                load(device, "--depth", 1024)
            totals = probe.batch("totals")
            self.assertEqual(totals["fetched_ios"], totals["committed_ios"])
            self.assertGreaterEqual(totals["fetched_ios"], 1500)
            self.check_whole(probe, 1600, 1024)
            self.assertEqual(probe.latency("totals")["requests"], totals["fetched_ios"])


class Foreign(ProbeCase):
    """The kernel's own test server: what the block layer handed out is what was fetched and committed."""

    @contextlib.contextmanager
    def kublk(self, *words):
        before = set(ublk.devices())
        process = subprocess.Popen([KUBLK, "add", "--foreground", "-t", "null", *words], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            number = ublk.wait_until(lambda: set(ublk.devices()) - before, "kublk's device").pop()
            ublk.wait_until(lambda: os.path.exists(f"/dev/ublkb{number}"), "kublk's disk")
            yield number
        finally:
            ublk.run(KUBLK, "del", "-n", str(number))
            process.wait(timeout=ublk.HANG_S)

    @unittest.skipUnless(KUBLK.exists(), f"no {KUBLK}: 'scripts/vm test' makes it; UBLKBENCH_KUBLK names another")
    def test_kublk(self):
        for words in ((), ("-b",), ("--auto_zc",)):
            with self.subTest(words=words), self.kublk(*words) as number:
                with Attached("--dev", number, "--probe", "batch,latency,wakeups,syscalls,tags,zc,errors",
                              "--sample", 1) as probe:
                    ublk.succeed(LOAD, f"/dev/ublkb{number}", "--ios", 1500, "--warmup", 100, "--depth", 64)
                probes = probe.record["probes"]
                ios, wakeups = probes["wakeups"]["completed_ios"], probes["wakeups"]  # the block layer's count
                self.assertGreaterEqual(ios, 1600)
                # With seven probes a run is skipped now and then: of batch up to a batch, of the others one I/O.
                missed = {name: probes[name]["totals"]["missed_runs"] for name in ("batch", "latency", "zc")}
                for name in ("queued_requests", "fetch_batch", "commit_batch"):
                    self.assertAlmostEqual(sum(size * events for size, events in probe.batch(name)["size_events"]), ios,
                                           delta=64 * missed["batch"], msg=name)
                latency = probe.latency("totals")
                self.assertAlmostEqual(latency["requests"], ios, delta=missed["latency"])
                self.assertAlmostEqual(latency["finished_ios"] + latency["unseen_return_ios"], ios,
                                       delta=2 * missed["latency"])
                self.assertLessEqual(latency["lost_ios"], missed["latency"])
                zc = probes["zc"]
                for name in ("registrations", "releases"):
                    self.assertAlmostEqual(zc[name], ios if words == ("--auto_zc",) else 0, delta=missed["zc"], msg=name)
                self.assertLess(sum(missed.values()), ios / 20)
                errors = probes["errors"]
                self.assertEqual({errors[name] for name in ("failed_requests", "requeued_requests", "timeouts")}, {0})
                self.assertGreater(sum(task["sleeps"] for task in wakeups["tasks"]), 0)


class Window(ProbeCase):
    """What is recorded of a run's probes is of its measured window, whatever came before and after."""

    def record_of(self, *words):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "run.json"
            self.text = ublk.succeed(ublk.UBLKBENCH, *words, "--verify", "off", "--repeat", "1", "--control", "none",
                                     "--json", path, timeout_s=400)
            record = json.loads(path.read_text())
        jsonschema.validate(record, RUN_SCHEMA)
        (sample,) = (sample for sample in record["samples"] if "probe" in sample)
        return sample

    def test_edges(self):
        """The device is idle for as long as the probes take to come and go; a fifth of the I/Os is warm-up."""
        sample = self.record_of("--mode", "copy", "--target", "null+fault:delay=2ms", "--qd", "16", "--ios", "2000",
                                "--warmup", "500", "--probe", "batch,latency,wakeups,syscalls,tags")
        probe = sample["probe"]["record"]
        load = sample["load"]
        probes, attached = probe["probes"], probe["attached"]
        # It opens and closes as the load's does, with the I/Os of a depth or two around it.
        self.assertGreaterEqual(probe["window_ns"], load["window_ns"])
        self.assertLess(probe["window_ns"], probe["attached_ns"])
        for name in ("wakeups", "syscalls", "tags"):
            inside, all_of_it = probes[name]["completed_ios"], attached[name]["completed_ios"]
            self.assertGreaterEqual(inside, 2000, name)
            self.assertLessEqual(inside + 400, all_of_it, name)
        batch = sum(size * events for size, events in probes["batch"]["fetch_batch"]["size_events"])
        self.assertGreaterEqual(batch, 2000 - 32)
        self.assertLessEqual(batch + 400, attached["batch"]["totals"]["fetched_ios"])
        self.assertLess(probes["latency"]["totals"]["requests"], attached["latency"]["totals"]["requests"])
        # The load keeps 16 I/Os at a device that is idle outside of the window: no mean knows of that.
        self.assertGreater(sample["block"]["in_flight_mean"], 8)
        (in_flight,) = probes["tags"]["in_flight"]
        self.assertGreater(in_flight["mean"], 8)
        elapsed_ns = probes["wakeups"]["elapsed_ns"]
        self.assertLessEqual(max(task["on_cpu_ns"] for task in probes["wakeups"]["tasks"]), elapsed_ns)
        self.assertLess(elapsed_ns, probe["attached_ns"])
        self.assertIn("measured window only", self.text)
        self.assertNotIn("warm-up included", self.text)

    def test_idle_time_outside_of_it_changes_no_mean(self):
        """ublk-probe by itself, told of the edges of a window that lasts a third of its time."""
        with ublk.Device("-m", "copy", "-t", "null+fault:delay=2ms", "-d", 16) as device:
            ours, its = socket.socketpair()
            with ours, its, Attached("--dev", device.id, "--probe", "tags,wakeups,latency,batch", "--sample", 1,
                                     "--edges-fd", its.fileno(), pass_fds=(its.fileno(),)) as probe:
                def mark(edge):
                    ours.settimeout(60)
                    ours.sendall(edge)
                    self.assertEqual(ours.recv(1), edge)

                load(device, "--depth", 4)
                time.sleep(1)
                client = subprocess.Popen([LOAD, device.path, "--depth", "16", "--runtime", "4s"],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                stat = pathlib.Path(f"/sys/block/ublkb{device.id}/inflight")
                ublk.wait_until(lambda: sum(map(int, stat.read_text().split())) > 8, "it is loaded", timeout_s=60)
                mark(b"b")
                before = completed_reads(device)
                time.sleep(1)
                inside = completed_reads(device) - before
                mark(b"e")
                client.terminate()
                client.wait(timeout=60)
                time.sleep(1)
        record = probe.record["probes"]
        self.assertGreaterEqual(record["wakeups"]["completed_ios"], inside)
        self.assertLess(record["wakeups"]["completed_ios"],
                        probe.record["attached"]["wakeups"]["completed_ios"] - 1500)
        (in_flight,) = record["tags"]["in_flight"]
        self.assertGreater(in_flight["mean"], 8)
        self.assertGreaterEqual(probe.record["window_ns"], 10**9)
        self.assertLess(record["wakeups"]["elapsed_ns"], probe.record["attached_ns"] - 2 * 10**9)
        stages = record["latency"]["stages_ns"]
        # I/Os complete while an edge is read: of those some stages are in the window and some are not.
        self.assertAlmostEqual(sum(stages[name]["sum"] for name in STAGES), stages["total"]["sum"],
                               delta=32 * stages["total"]["max"])

    def test_a_window_that_never_ends_is_none(self):
        with ublk.Device("-m", "copy", "-t", "null") as device:
            ours, its = socket.socketpair()
            with ours, Attached("--dev", device.id, "--probe", "batch", "--edges-fd", its.fileno(),
                                pass_fds=(its.fileno(),)) as probe:
                its.close()
                ours.sendall(b"b")
                self.assertEqual(ours.recv(1), b"b")
                load(device, "--depth", 4)
                ours.close()
                load(device, "--depth", 4)
        self.assertNotIn("window_ns", probe.record)
        self.assertGreaterEqual(probe.batch("totals")["fetched_ios"], 3200)

    def test_histograms_are_shown_when_asked_for(self):
        probes = "batch,latency,wakeups,syscalls,tags,zc,errors"
        self.record_of("--mode", "batch", *QUICK[:4], "--probe", probes, "--histograms")
        with_pictures = self.text
        self.assertIn("@fetch_batch:", with_pictures)
        self.assertIn("@dispatch_ns:", with_pictures)
        self.record_of("--mode", "batch", *QUICK[:4], "--probe", probes)
        self.assertNotRegex(self.text, r"(?m)^@\w+: $")
        # How many tasks and troubles have a line is the machine's; pictures are most of the other text.
        self.assertLess(2 * len(self.text.splitlines()), len(with_pictures.splitlines()), self.text)


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
        probe = self.enterContext(ublk.for_everyone(PROBE))
        with ublk.Device("-m", "copy", "-t", "null") as device:
            for words in ((), ("--dev", device.id), ("--pid", device.server_pid)):
                with self.subTest(words=words):
                    self.fails(5, "run as root", "setpriv", "--reuid", 65534, "--clear-groups", probe, *words)

    def test_no_kernel_types(self):
        self.fails(5, "CONFIG_DEBUG_INFO_BTF", "unshare", "--mount", "sh", "-c",
                   f"mount -t tmpfs none /sys/kernel/btf && exec {PROBE}")

    def test_no_types_of_the_driver(self):
        """Its BTF is there and empty, as where it was stripped."""
        self.fails(5, "types", "unshare", "--mount", "sh", "-c",
                   f"mount --bind /dev/null /sys/kernel/btf/ublk_drv && exec {PROBE}")

    def test_root_without_its_capabilities(self):
        self.fails(5, "CAP_BPF", "setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--inh-caps",
                   "-bpf,-perfmon,-sys_admin", PROBE, "--dev", "all")

    def test_device_vanishes(self):
        device = ublk.Device("-m", "copy", "-t", "null")
        with device, Attached("--dev", device.id, "--probe", "batch,wakeups,syscalls,errors") as probe:
            before = completed_reads(device)
            load(device, "--depth", 16)
            completed = completed_reads(device) - before
            ublk.let_others_run(1)  # it looks five times a second
            ublk.succeed(ublk.SERVER, "del", "-n", device.id)
            ublk.wait_until(lambda: probe.process.poll() is not None, "ublk-probe ends")
        self.assertEqual(probe.exit, 0)
        self.assertIn(f"device {device.id} was removed", probe.errors)
        self.assertEqual(probe.record["ending"], "device removed")
        self.assertGreaterEqual(probe.batch("totals")["committed_ios"], 1500)
        for name in ("wakeups", "syscalls", "errors"):
            ios = probe.record["probes"][name]["completed_ios"]
            self.assertLessEqual(ios, completed, name)
            self.assertGreater(ios, 0, name)

    def test_ctrl_c_shows_what_was_counted(self):
        with ublk.Device("-m", "copy", "-t", "null") as device, contextlib.ExitStack() as stack:
            process = subprocess.Popen([PROBE, "--dev", str(device.id)], text=True,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            stack.callback(process.kill)
            assert process.stderr
            self.assertIn("attached to ublk device", process.stderr.readline())
            self.assertTrue(attached_programs() - self.before)
            load(device, "--depth", 16)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=ublk.HANG_S)
            self.assertEqual(process.returncode, 130)
            self.assertRegex(out, r"(?m)^@fetch_batch: $")
            self.assertRegex(out, r"(?m)^\[\d+K?(, \d+K?\))?\]? +\d+ \|@* *\|$")


if __name__ == "__main__":
    ublk.main()
