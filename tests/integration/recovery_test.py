#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Servers that die or are replaced under load: nothing acknowledged is lost, errors are errors."""

import json
import os
import pathlib
import random
import signal
import subprocess
import time

import clients
import ublk
from ublk import LONG, Device, devices, process_ended, run, succeed, wait_until

LONG_MODES = ("copy get_data user_copy zc auto_zc batch batch,zc batch,auto_zc per_io_daemon "
              "offload,zc")
MODES = os.environ.get("UBLKBENCH_MODES", LONG_MODES if LONG else "copy").split()
ROUNDS = int(os.environ.get("UBLKBENCH_ROUNDS", "20" if LONG else "1"))  # of kills or upgrades a mode
BYTES = 64 << 20


def recover(device, *words):
    return json.loads(succeed(ublk.SERVER, "recover", "-n", device.id, "--json", *words))


def kill_server(device):
    pid = devices()[device.id]["server_pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process_ended(pid), "killed server ended")


class Recovery(ublk.TestCase):
    def check_clean(self, reports):
        self.assertTrue(reports)
        self.assertEqual(clients.errors(reports), 0)
        self.assertEqual(clients.bad_blocks(reports), 0, reports)
        for report in reports:
            self.assertGreater(report["checked_blocks"], 0)
            self.assertTrue(report["passed"], report)  # a hang has neither errors nor faults

    def under_load(self, mode, policy, disturb):
        """Runs disturb(device) ROUNDS times while two clients write; the clients, stopped."""
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", BYTES)
            with Device("-m", mode, "-t", f"loop:{backing}", "-r", policy) as device:
                load = clients.VerifyingLoad(device.path)
                recorder = clients.Recorder(device.path)
                try:
                    for _ in range(ROUNDS):
                        time.sleep(random.uniform(0.05, 1.0))
                        disturb(device)
                finally:  # or the recorder holds the device open
                    reports = load.stop()
                    recorder.stop()
                faults = recorder.faults(device.path)
            # What was acknowledged is in the file, not only in a server that is gone.
            return reports, recorder, faults + recorder.faults(backing)

    def test_reissue_loses_nothing(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                def disturb(device):
                    kill_server(device)
                    recover(device)
                reports, recorder, faults = self.under_load(mode, "reissue", disturb)
                self.check_clean(reports)
                self.assertEqual(recorder.errors, 0)
                self.assertGreater(len(recorder.durable), 0)
                self.assertEqual(faults, [])

    def test_upgrade_loses_nothing(self):
        blackouts = []
        for mode in MODES:
            with self.subTest(mode=mode):
                def disturb(device):
                    before = devices()[device.id]["server_pid"]
                    done = json.loads(succeed(ublk.SERVER, "upgrade", "-n", device.id, "--json"))
                    self.assertNotEqual(done["server_pid"], before)
                    self.assertEqual(done["upgrade"]["client_errors"], 0)
                    blackouts.append(done["upgrade"]["client_longest_read_ns"] / 1e6)
                reports, recorder, faults = self.under_load(mode, "reissue", disturb)
                self.check_clean(reports)
                self.assertEqual(recorder.errors, 0)
                self.assertEqual(faults, [])
        blackouts.sort()
        print(f"blackout of {len(blackouts)} upgrades in ms: median "
              f"{blackouts[len(blackouts) // 2]:.1f}, longest {blackouts[-1]:.1f}")

    def test_fail_and_fail_io_give_errors_never_wrong_data(self):
        for policy in ("fail", "fail-io"):
            for mode in MODES:
                with self.subTest(policy=policy, mode=mode):
                    def disturb(device):
                        kill_server(device)
                        time.sleep(0.1)
                        recover(device)
                    reports, recorder, faults = self.under_load(mode, policy, disturb)
                    self.assertEqual(clients.bad_blocks(reports), 0, reports)
                    self.assertEqual(faults, [])
                    self.assertEqual([report["hang"] for report in reports if report.get("hang")], [])
                    if policy == "fail-io":
                        self.assertGreater(clients.errors(reports) + recorder.errors, 0)

    def test_states_that_a_client_meets(self):
        for policy, state in (("fail", "QUIESCED"), ("reissue", "QUIESCED"), ("fail-io", "FAIL_IO")):
            with self.subTest(policy=policy), ublk.scratch_folder() as folder:
                backing = ublk.sparse_file(folder, "backing", BYTES)
                with Device("-t", f"loop:{backing}", "-r", policy) as device:
                    kill_server(device)
                    wait_until(lambda: devices()[device.id]["state"] == state, state)
                    self.assertRegex(succeed(ublk.SERVER, "del", "--orphans"),
                                     rf"^device {device.id} left alone: ")
                    words = ["dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1",
                             "iflag=direct", "status=none"]
                    read = subprocess.Popen(words, stderr=subprocess.DEVNULL)
                    if policy == "fail-io":
                        self.assertNotEqual(read.wait(timeout=ublk.HANG_S), 0)
                    else:
                        time.sleep(1)
                        self.assertIsNone(read.poll(), "I/O waits")
                    recover(device)
                    self.assertEqual(devices()[device.id]["state"], "LIVE")
                    if policy != "fail-io":
                        self.assertEqual(read.wait(timeout=ublk.HANG_S), 0, "I/O went on")
                    succeed(*words)

    def test_a_wrong_target_is_refused(self):
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", BYTES)
            other = ublk.sparse_file(folder, "other", BYTES)
            small = ublk.sparse_file(folder, "small", BYTES // 2)
            with Device("-t", f"loop:{backing}", "-r", "fail") as device:
                kill_server(device)
                wait_until(lambda: devices()[device.id]["state"] == "QUIESCED", "quiesced")
                for words, says in ((("-t", f"loop:{other}"), "is not what device"),
                                    (("-t", f"loop:{small}"), "cannot hold"),
                                    (("-t", "null"), "is not what device"),
                                    (("-m", "auto_zc"), "was added with"),
                                    (("-m", "batch"), "was added with")):
                    refused = run(ublk.SERVER, "recover", "-n", device.id, *words)
                    self.assertEqual(refused.returncode, 2, refused.stderr)
                    self.assertIn(says, refused.stderr)
                    self.assertEqual(refused.stderr.count("\n"), 1, refused.stderr)
                    self.assertEqual(devices()[device.id]["state"], "QUIESCED")
                recover(device, "-t", f"loop:{other}", "--accept-other-data")
                again = run(ublk.SERVER, "recover", "-n", device.id, "--timeout", "1s")
                self.assertEqual(again.returncode, 2)
                self.assertIn("ublk-server upgrade", again.stderr)

    def test_a_damaged_record_counts_as_none(self):
        with Device("-t", "null", "-r", "fail") as device:
            record = pathlib.Path(f"/run/ublkbench/ublk{device.id}.json")
            whole = json.loads(record.read_text())
            kill_server(device)
            wait_until(lambda: devices()[device.id]["state"] == "QUIESCED", "quiesced")
            for text in ("", "{", "[1]", json.dumps(whole | {"owner_pid": "x"}),
                         json.dumps(whole | {"words": 7}), json.dumps(whole | {"version": 99})):
                record.write_text(text)
                refused = run(ublk.SERVER, "recover", "-n", device.id, "-t", "null")
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn("nothing is remembered", refused.stderr)
                self.assertEqual(refused.stderr.count("\n"), 1, refused.stderr)
            record.write_text(json.dumps(whole))
            recover(device)

    def test_memory_dies_with_its_server(self):
        with Device("-t", "mem:16M", "-r", "reissue") as device:
            kill_server(device)
            refused = run(ublk.SERVER, "recover", "-n", device.id)
            self.assertEqual(refused.returncode, 2)
            self.assertIn("lost with its server", refused.stderr)
            recover(device, "--accept-other-data")
            self.assertEqual(devices()[device.id]["state"], "LIVE")

    def test_a_server_that_dies_while_it_takes_over(self):
        with Device("-t", "null", "-q", 2, "-r", "fail") as device:
            kill_server(device)
            failed = run(ublk.SERVER, "recover", "-n", device.id, "--die-while-fetching")
            self.assertNotEqual(failed.returncode, 0)
            self.assertIn("signal 9", failed.stderr)
            recover(device)
            self.assertEqual(devices()[device.id]["state"], "LIVE")

    def test_quiesce_under_load_and_without_recovery(self):
        with Device("-t", "null") as device:
            refused = run(ublk.SERVER, "quiesce", "-n", device.id)
            self.assertEqual(refused.returncode, 5)
            self.assertIn("--recovery", refused.stderr)
        for mode in MODES:
            with self.subTest(mode=mode), Device("-m", mode, "-t", "null", "-r", "fail") as device:
                load = clients.fio(device.path, runtime_s=6)
                time.sleep(1)
                succeed(ublk.SERVER, "quiesce", "-n", device.id)
                self.assertEqual(devices()[device.id]["state"], "QUIESCED")
                recover(device)
                output, _ = load.communicate(timeout=ublk.HANG_S)
                # Linux 7.3 fails all I/O of a batch device that is quiesced (force_abort).
                if "batch" not in mode:
                    self.assertEqual(load.returncode, 0, output)

    def test_an_upgrade_that_would_show_errors_is_refused(self):
        for mode, policy in (("copy", "fail-io"), ("batch", "fail")):
            with self.subTest(mode=mode), \
                    Device("-m", mode, "-t", "null", "-r", policy) as device:
                refused = run(ublk.SERVER, "upgrade", "-n", device.id)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn("--accept-errors", refused.stderr)
                self.assertEqual(devices()[device.id]["server_pid"], device.server_pid)

    def test_resize_stop_and_affinity_under_load(self):
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", BYTES)
            with Device("-t", f"loop:{backing}", "-q", 2) as device:
                load = clients.fio(device.path, "--size=16M", runtime_s=6)
                time.sleep(0.5)
                for bytes_ in (BYTES // 2, BYTES):
                    succeed(ublk.SERVER, "resize", "-n", device.id, "-s", bytes_)
                    self.assertEqual(int(succeed("blockdev", "--getsize64", device.path)), bytes_)
                refused = run(ublk.SERVER, "resize", "-n", device.id, "-s", 2 * BYTES)
                self.assertEqual(refused.returncode, 2)
                os.truncate(backing, 2 * BYTES)
                succeed(ublk.SERVER, "resize", "-n", device.id, "-s", 2 * BYTES)
                moved = succeed(ublk.SERVER, "set-affinity", "-n", device.id, "--server-cpus", "1")
                for line in moved.splitlines():
                    task = int(line.split("task ")[1].split(")")[0])
                    self.assertEqual(os.sched_getaffinity(task), {1})
                with open(device.path, "rb"):
                    busy = run(ublk.SERVER, "stop", "-n", device.id, "--safe")
                self.assertEqual(busy.returncode, 5)
                self.assertIn("open", busy.stderr)
                output, _ = load.communicate(timeout=ublk.HANG_S)
                self.assertEqual(load.returncode, 0, output)
                succeed(ublk.SERVER, "stop", "-n", device.id, "--safe")
                wait_until(lambda: device.id not in devices(), "supervisor removed the device")

    def test_affinity_moves_every_task_that_serves(self):
        with Device("-m", "offload", "-t", "null", "-q", 2) as device:
            tasks = {}
            for comm in pathlib.Path(f"/proc/{device.server_pid}/task").glob("*/comm"):
                tasks[comm.read_text().strip()] = int(comm.parent.name)
            serving = {name: task for name, task in tasks.items() if name[:6] in ("ublk-d", "ublk-w")}
            self.assertEqual(set(serving), {"ublk-d0", "ublk-d1", "ublk-w0", "ublk-w1"})
            for cpus, expected in (("0", {0}), ("1", {1}), ("free", set(range(os.cpu_count() or 1)))):
                moved = succeed(ublk.SERVER, "set-affinity", "-n", device.id, "--server-cpus", cpus)
                self.assertEqual(len(moved.splitlines()), 4, moved)
                for name, task in serving.items():
                    self.assertEqual(os.sched_getaffinity(task), expected, name)

    def test_asynchronous_removal(self):
        device = Device("-t", "null")
        with open(device.path, "rb"):
            # Without --async it would give up waiting for us, and say so.
            self.assertEqual(succeed(ublk.SERVER, "del", "--async", "--force", "-n", device.id),
                             f"device {device.id} is going\n")
        wait_until(lambda: device.id not in devices(), "device gone after its opener")


class WhatMustBeTheSame(ublk.TestCase):
    """Servers that would take the device's data, or the driver's memory, for something else."""

    def lose_server(self, device):
        kill_server(device)
        wait_until(lambda: devices()[device.id]["state"] == "QUIESCED", "quiesced")

    def refused(self, says, *words):
        done = run(ublk.SERVER, *words)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertIn(says, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_another_chunk(self):
        with ublk.scratch_folder() as folder:
            members = ",".join(str(ublk.sparse_file(folder, name, BYTES)) for name in ("a", "b"))
            other = ("-t", f"stripe:{members}:chunk=128k")
            with Device("-t", f"stripe:{members}:chunk=64k", "-r", "fail") as device:
                self.refused("chunk 65536", "upgrade", "-n", device.id, *other)
                self.lose_server(device)
                self.refused("chunk 65536", "recover", "-n", device.id, *other)
                recover(device, "-t", f"stripe:{members}")  # 64k in other words

    def test_a_record_of_an_earlier_version(self):
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", BYTES)
            with Device("-t", f"loop:{backing}", "-r", "fail") as device:
                path = pathlib.Path(f"/run/ublkbench/ublk{device.id}.json")
                record = json.loads(path.read_text())
                for field in ("layout", "shared_memory", "metadata_room_bytes"):
                    del record[field]
                record["files"] = [name.split(", made at ")[0] for name in record["files"]]
                path.write_text(json.dumps(record))
                self.lose_server(device)
                again = run(ublk.SERVER, "recover", "-n", device.id)
                self.assertEqual(again.returncode, 0, again.stderr)
                self.assertIn("of an earlier version", again.stderr)
                self.assertIn("layout", json.loads(path.read_text()))

    def test_a_file_that_was_replaced(self):
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", BYTES)
            with Device("-t", f"loop:{backing}", "-r", "fail") as device:
                self.lose_server(device)
                backing.unlink()
                ublk.sparse_file(folder, "backing", BYTES)
                self.refused("replaced", "recover", "-n", device.id)

    def test_descriptors_of_another_size(self):
        with Device("-t", "null", "-r", "fail", "--io-desc-size", 32) as device:
            self.lose_server(device)
            self.refused("io descriptors of 32 bytes", "recover", "-n", device.id, "--io-desc-size", 24)
            recover(device)
            succeed("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=64", "iflag=direct")

    def test_metadata(self):
        with ublk.scratch_folder() as folder:
            backing = ublk.sparse_file(folder, "backing", BYTES)
            store, other = folder / "metadata", folder / "other"
            with Device("-m", "user_copy", "-t", f"loop:{backing}", "--size", BYTES // 4, "-r", "fail",
                        "--metadata", 16, "--metadata-file", store) as device:
                self.refused("metadata", "resize", "-n", device.id, "-s", BYTES // 2)
                succeed(ublk.SERVER, "resize", "-n", device.id, "-s", BYTES // 8)
                self.lose_server(device)
                self.refused("metadata of 16 bytes", "recover", "-n", device.id, "-m", "user_copy",
                             "--metadata", 8)
                self.refused("No such file", "recover", "-n", device.id, "--metadata-file", other)
                self.assertFalse(other.exists())
                other.write_bytes(b"mine")
                self.refused("is not what device", "recover", "-n", device.id, "--metadata-file", other)
                self.assertEqual(other.read_bytes(), b"mine")
                recover(device)
                succeed(ublk.SERVER, "resize", "-n", device.id, "-s", BYTES // 4)

    def test_shared_memory(self):
        region = pathlib.Path(f"/dev/shm/ublkbench-recovery-{os.getpid()}")
        aside = region.with_suffix(".aside")
        try:
            with Device("-m", "shmem_zc", "-t", "null", "-r", "fail", "--shared-memory", region,
                        "--shared-memory-size", "1M") as device:
                self.lose_server(device)
                region.rename(aside)
                self.refused("No such file", "recover", "-n", device.id)
                self.assertFalse(region.exists())
                ublk.sparse_file(region.parent, region.name, 1 << 20)
                self.refused("shared memory", "recover", "-n", device.id)
                aside.rename(region)
                self.refused("shared memory", "recover", "-n", device.id, "--shared-memory-read-only")
                self.refused("shared memory", "recover", "-n", device.id, "--shared-memory-size", "2M")
                self.assertEqual(region.stat().st_size, 1 << 20)
                recover(device)
        finally:
            region.unlink(missing_ok=True)
            aside.unlink(missing_ok=True)


class Batch(ublk.TestCase):
    def test_each_daemon_of_a_shared_queue_comes_back(self):
        with Device("-m", "batch", "-t", "null", "--daemons", 4, "-r", "fail") as device:
            said = succeed(ublk.SERVER, "quiesce", "-n", device.id)
            self.assertIn("its I/O fails", said)
            pid = recover(device)["server_pid"]
            succeed("dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=64", "iflag=direct")
            names = [comm.read_text().strip() for comm in pathlib.Path(f"/proc/{pid}/task").glob("*/comm")]
            self.assertEqual(sorted(name for name in names if name.startswith("ublk-d")),
                             [f"ublk-d{index}" for index in range(4)])

    def test_upgrade_ends_the_old_server_only(self):
        with Device("-m", "batch", "-t", "null", "-r", "reissue") as device:
            succeed(ublk.SERVER, "upgrade", "-n", device.id)
            self.assertTrue(process_ended(device.server_pid))
            self.assertNotEqual(devices()[device.id]["server_pid"], device.server_pid)


if __name__ == "__main__":
    ublk.main()
