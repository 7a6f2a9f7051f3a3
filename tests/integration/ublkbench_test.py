#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The main job on the real driver: what is printed and recorded is what was measured, and nothing
is left behind, however a run ends."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import jsonschema

import ublk

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = json.loads((SOURCE / "bench/record/schema/run.schema.json").read_text())
QUICK = ("--ios", "3000", "--warmup", "500", "--repeat", "1")
# ublk-dump on an emulated CPU that others use too.
PATIENT = ("--hang-dump-timeout", "10m")


def null_blocks():
    root = pathlib.Path("/sys/kernel/config/nullb")
    return [path.name for path in root.glob("ublkbench-*")] if root.exists() else []


class UblkbenchCase(ublk.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.addCleanup(lambda: self.assertEqual(null_blocks(), [], "null_blk devices left"))

    def bench(self, *words, exit=0, timeout_s=ublk.HANG_S):
        """Runs ublkbench and returns (validated record, stdout, stderr)."""
        path = self.folder / "run.json"
        done = ublk.run(ublk.UBLKBENCH, *words, "--json", path, timeout_s=timeout_s)
        self.assertEqual(done.returncode, exit, done.stdout + done.stderr)
        record = json.loads(path.read_text()) if path.exists() else None
        if record is not None:
            jsonschema.validate(record, SCHEMA)
        return record, done.stdout, done.stderr

    def samples(self, record, kind="ublk"):
        cells = {cell["id"] for cell in record["cells"] if cell["kind"] == kind}
        return [sample for sample in record["samples"] if sample["cell"] in cells]


class MainJob(UblkbenchCase):
    def test_batch_auto_zc(self):
        record, text, _ = self.bench("--mode", "batch,auto_zc", "--qd", "128", *QUICK)
        (sample,) = self.samples(record)
        self.assertLessEqual({"UBLK_F_BATCH_IO", "UBLK_F_AUTO_BUF_REG"},
                             set(sample["device"]["flags_granted"]))
        self.assertEqual(sample["verify"]["status"], "passed")
        self.assertGreater(sample["server"]["fetch_batch"]["mean"], 1)
        self.assertGreater(sample["server"]["commit_batch"]["mean"], 1)
        self.assertEqual(sample["load"]["measured_ios"], 3000)
        self.assertEqual(sample["server"]["failed_ios"], 0)
        self.assertRegex(text, r"(?m)^batch,auto_zc +1 ")
        self.assertRegex(text, r"(?m)^\(null_blk\) +1 ")

    def test_server_counts_what_the_load_did(self):
        record, _, _ = self.bench("--mode", "copy", "--mode", "batch", "--qd", "32", *QUICK,
                                  "--control", "none")
        for sample in self.samples(record):
            with self.subTest(cell=sample["cell"]):
                server = sample["server"]
                for name in ("fetch", "commit"):
                    total = sum(size * count for size, count in server[name + "_batch"]["size_events"])
                    counter = server["fetched_ios" if name == "fetch" else "committed_ios"]
                    # The window's edges fall between a batch and its sum.
                    self.assertLessEqual(abs(total - counter), 32)
                    self.assertLessEqual(abs(counter - sample["load"]["measured_ios"]), 2 * 32 + 32)

    def test_modes_keep_data(self):
        modes = [word for mode in ublk.MODES for word in ("--mode", mode)]
        for target in ("mem:64M", f"loop:{ublk.sparse_file(self.folder, 'disk', 64 << 20)}"):
            with self.subTest(target=target):
                record, text, _ = self.bench(*modes, "--target", target, "--rw", "randrw",
                                             "--qd", "1,32", "--control", "none", "--destructive", *QUICK)
                samples = self.samples(record)
                self.assertEqual({s["cell"].split()[0] for s in samples}, set(ublk.MODES))
                self.assertEqual({s["status"] for s in samples}, {"ok"})
                verified = [s["verify"] for s in samples if "verify" in s]
                self.assertEqual(len(verified), len(ublk.MODES))
                self.assertEqual({(v["status"], v["checked"]) for v in verified},
                                 {("passed", "contents")})
                self.assertIn("contents", text)

    def test_somebody_elses_device(self):
        with ublk.Device("-m", "copy", "-t", "mem:16M") as device:
            record, text, _ = self.bench("--device", device.path, "--control", "none", *QUICK)
            (sample,) = self.samples(record, "external")
            self.assertIsNone(sample["server"])
            self.assertEqual(sample["status"], "ok")
            self.bench("--device", device.path, "--rw", "randwrite", *QUICK, exit=2)
        self.assertIn(device.path, text)

    def test_several_queues_jobs_and_daemons(self):
        record, _, _ = self.bench("--mode", "batch,auto_zc", "--queues", "2", "--daemons", "2",
                                  "--jobs", "2", "--qd", "64", "--control", "none", *QUICK)
        (sample,) = self.samples(record)
        self.assertEqual(sample["device"]["daemons"], 2)
        self.assertEqual(len(sample["load"]["usage_per_job"]), 2)


class Outputs(UblkbenchCase):
    def test_dry_run_measures_nothing(self):
        done = ublk.run(ublk.UBLKBENCH, "--mode", "copy", "--mode", "batch", "--qd", "1,128",
                        "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("6 cells x 5 rounds = 30 samples", done.stdout)
        self.assertIn("batch null qd=128 bs=4k randread", done.stdout)

    def test_formats(self):
        for word, needle in (("md", "| mode "), ("csv", "kind,mode,target"), ("json", '"cells"')):
            with self.subTest(format=word):
                done = ublk.run(ublk.UBLKBENCH, "--format", word, "--control", "none", *QUICK)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(needle, done.stdout)

    def test_resume_measures_only_what_is_missing(self):
        out = self.folder / "out"
        words = ("--mode", "copy", "--qd", "1,8", "--control", "none", "--ios", "2000",
                 "--warmup", "100", "--repeat", "2", "--out", out)
        done = ublk.run(ublk.UBLKBENCH, *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = (out / "samples.jsonl").read_text().splitlines()
        self.assertEqual(len(lines), 4)
        (out / "samples.jsonl").write_text("\n".join(lines[:3]) + "\n" + lines[3][:40])
        done = ublk.run(ublk.UBLKBENCH, *words, "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 samples taken over", done.stderr)
        self.assertIn("[1/1]", done.stderr)
        self.assertEqual(len((out / "samples.jsonl").read_text().splitlines()), 4)

    def test_modes_lists_every_combination_with_its_reason(self):
        listed = json.loads(ublk.succeed(ublk.UBLKBENCH, "modes", "--json"))["modes"]
        self.assertEqual(len(listed), 126)
        by_name = {row["mode"]: row for row in listed}
        for mode in ublk.MODES:
            self.assertEqual(by_name[mode]["status"], "granted")
        self.assertIn("UBLK_F_NEED_GET_DATA", by_name["batch,get_data"]["why"])
        for row in listed:
            self.assertEqual(row["status"] == "granted", row["why"] == "", row)
        text = ublk.succeed(ublk.UBLKBENCH, "modes")
        self.assertRegex(text, r"(?m)^  batch,auto_zc +granted")


class BadInput(UblkbenchCase):
    ROWS = (
        (("--mode", "warp"), 2, r"unknown mode word 'warp'"),
        (("--mode", "copy,auto_zc"), 2, r"exclude each other"),
        (("--mode", "batch,get_data"), 2, r"drops UBLK_F_NEED_GET_DATA"),
        (("--qd", "0"), 2, r"queue depth 0; the driver takes 1 to 4096"),
        (("--qd", "5000"), 2, r"queue depth 5000; the driver takes 1 to 4096"),
        (("--qd", "x"), 2, r"'x' is not a count"),
        (("--bs", "2M"), 2, r"block size 2M is larger than the device's largest I/O, 1M; raise --max-io"),
        (("--bs", "1000"), 2, r"1000"),
        (("--rw", "sideways"), 2, r"sideways"),
        (("--target", "loop:/nosuch/file"), 2, r"/nosuch/file: No such file or directory; create it"),
        (("--target", "loop:/tmp"), 2, r"/tmp is a directory"),
        (("--target", "warp"), 2, r"unknown target 'warp'"),
        (("--device", "/nosuch"), 2, r"/nosuch"),
        (("--json", "/dev/full"), 2, r"/dev/full: No space left on device"),
        (("--json", "/nosuch/run.json"), 2, r"/nosuch"),
        (("--ios", "10", "--runtime", "1s"), 2, r"exclude each other"),
        (("--repeat", "0"), 2, r"at least one round"),
        (("--nosuch",), 2, r"--nosuch.*see 'ublkbench run --help'"),
        (("--format", "yaml"), 2, r"unknown format 'yaml'"),
        (("--hang-dump", "/nosuch"), 2, r"--hang-dump /nosuch: No such file or directory; name ublk-dump, or 'off'"),
        (("--hang-dump-timeout", "soon"), 2, r"'soon' is not a duration"),
        (("--resume",), 2, r"--resume without a record"),
    )

    def test_each_is_one_clear_line(self):
        for words, exit, says in self.ROWS:
            with self.subTest(words=" ".join(words)):
                done = ublk.run(ublk.UBLKBENCH, *words)
                self.assertEqual(done.returncode, exit, done.stderr)
                self.assertRegex(done.stderr, says)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertEqual(done.stdout, "")
                self.check_nothing_left()

    def test_too_small_a_file(self):
        small = ublk.sparse_file(self.folder, "small", 4096)
        done = ublk.run(ublk.UBLKBENCH, "--target", f"loop:{small}")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr, r"is too small: 4096 bytes; it needs at least 1M")

    def test_locked_memory_too_low(self):
        done = ublk.run("prlimit", "--memlock=65536", "setpriv", "--bounding-set", "-ipc_lock",
                        "--inh-caps", "-ipc_lock", ublk.UBLKBENCH, "--control", "none", *QUICK)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertRegex(done.stderr, r"locked-memory limit of 65536 bytes; .* need 524288; raise it")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_full_stdout(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([ublk.UBLKBENCH, "--control", "none", *QUICK], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=ublk.HANG_S, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("No space left on device", done.stderr)


def reads_of(number):
    """Reads that the device has completed; none where it is not there yet or not any more."""
    try:
        return int(pathlib.Path(f"/sys/block/ublkb{number}/stat").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0


def samples_in(path):
    """Samples of a record that is written anew after each."""
    return path.exists() and json.loads(path.read_text())["samples"]


class Endings(UblkbenchCase):
    def start(self, *words):
        """A run whose first sample is under way: without verification the first I/O is the sample's."""
        process = subprocess.Popen(
            [ublk.UBLKBENCH, "--runtime", "600s", "--repeat", "1", "--verify", "off", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ublk.wait_until(lambda: any(reads_of(number) > 100 for number in set(ublk.devices()) - self.devices_before),
                        "I/O of the run")
        return process

    def test_ctrl_c_removes_the_device_and_keeps_the_record(self):
        path = self.folder / "run.json"
        process = self.start("--control", "none", "--json", path)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=ublk.HANG_S)
        self.assertEqual(process.returncode, 130, stderr)
        record = json.loads(path.read_text())
        jsonschema.validate(record, SCHEMA)
        self.assertEqual(record["samples"][0]["status"], "interrupted")
        self.check_nothing_left()

    def test_kill_9_is_cleaned_up_by_the_next_run(self):
        process = self.start("--control", "none", "--mode", "batch")
        process.kill()
        process.communicate(timeout=ublk.HANG_S)
        # Its children die with it; what stays is a dead device.
        def dead():
            left = [d for number, d in ublk.devices().items() if number not in self.devices_before]
            return left and all(d["state"] == "DEAD" for d in left)
        ublk.wait_until(dead, "the device of the killed run to be dead")
        _, _, stderr = self.bench("--control", "none", *QUICK)
        self.assertRegex(stderr, r"removed device \d+, left by a run that was killed")
        self.check_nothing_left()

    def test_a_hang_is_told_and_the_matrix_goes_on(self):
        process = subprocess.Popen(
            [ublk.UBLKBENCH, "--runtime", "20s", "--hang-timeout", "2s", "--repeat", "1", "--control",
             "none", "--verify", "off", "--qd", "4,8", "--json", self.folder / "run.json", *PATIENT],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        device = ublk.wait_until(
            lambda: next((d for n, d in ublk.devices().items()
                          if n not in self.devices_before and d["server_pid"] > 0), None),
            "the first device")
        ublk.wait_until(lambda: reads_of(device["id"]) > 100, "I/O of the run")
        os.kill(device["server_pid"], signal.SIGSTOP)
        ublk.wait_until(lambda: ublk.process_ended(device["server_pid"]), "the stopped server's end", 650)
        ublk.wait_until(lambda: samples_in(self.folder / "run.json"), "the failed sample's record")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=ublk.HANG_S)
        self.assertEqual(process.returncode, 7, stderr)
        self.assertIn("hang", stdout)
        record = json.loads((self.folder / "run.json").read_text())
        self.assertEqual(record["samples"][0]["status"], "failed")
        self.assertTrue(record["samples"][0]["load"]["hang"]["outstanding"])
        hang = record["samples"][0]["hang_dump"]
        self.assertEqual(hang["status"], "taken", hang.get("reason"))
        self.assertEqual({row["code"] for row in hang["dump"]["findings"]}, {"SERVER_STOPPED"})
        self.check_nothing_left()


class HangDumps(UblkbenchCase):
    """The watchdog asks ublk-dump while the device hangs, and does without it where it has to."""

    DUMP = SOURCE / "drgn/ublk-dump"

    def hang(self, *words):
        """The record's only sample and stderr of a run whose server never commits one tag."""
        # Not its first megabyte, or the partition scan would hang before there is a load.
        record, _, stderr = self.bench(
            "--target", "null+fault:hang=2@1M..200G", "--qd", "4", "--ios", "2000", "--warmup", "0", "--repeat", "1",
            "--control", "none", "--verify", "off", "--hang-timeout", "1500ms",
            *(() if {"--hang-dump-timeout", "off"} & set(words) else PATIENT), *words, exit=7, timeout_s=700)
        self.assertNotIn("Traceback", stderr)
        return record["samples"][0], stderr

    def program(self, name, text):
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return path

    def test_verdict_dump_and_recording(self):
        sample, stderr = self.hang()
        hang = sample["hang_dump"]
        self.assertEqual(hang["status"], "taken", hang.get("reason"))
        self.assertIn("never commits", hang["verdict"])
        self.assertIn("never commits", sample["reason"])
        self.assertRegex(stderr, r"note: ublk-dump of the hang: device \d+: the server has the request and never")
        schema = json.loads((SOURCE / "drgn/ublk_drgn/schema/dump.schema.json").read_text())
        jsonschema.validate(hang["dump"], schema)
        (finding,) = [row for row in hang["dump"]["findings"] if row["severity"] == "hang"]
        self.assertEqual((finding["code"], finding["tags"]), ("SERVER_HOLDS_IO", [2]))
        # What the load says to be outstanding is what the kernel says to be with the server.
        (io,) = [io for device in hang["dump"]["devices"] for queue in device["queues"] for io in queue["ios"]
                 if io["place"] == "owned_by_server"]
        self.assertEqual([row["offset_bytes"] for row in sample["load"]["hang"]["outstanding"]],
                         [512 * io["request"]["sector"]])
        self.assertEqual(hang["recording"], f"{self.folder}/run.json.hang-1.xz")
        self.assertIn(f"ublk-dump --replay {hang['recording']}", stderr)
        replayed = ublk.run("python3", self.DUMP, "--replay", hang["recording"], "--age", "1")
        self.assertEqual(replayed.returncode, 1, replayed.stderr)
        self.assertIn("SERVER_HOLDS_IO", replayed.stdout)

    def test_without_drgn_what_the_kernel_shows_is_said(self):
        no_drgn = self.program("no-drgn", f"exec python3 -I -S {self.DUMP} \"$@\"\n")
        sample, stderr = self.hang("--hang-dump", no_drgn)
        self.assertEqual((sample["hang_dump"]["status"], sample["hang_dump"]["recording"]), ("taken", None))
        self.assertRegex(sample["hang_dump"]["verdict"], r"no verdict without the kernel's memory: ublkb\d+ has 1 request")
        self.assertIn("no verdict without the kernel's memory", stderr)
        self.assertIn("install the package python3-drgn", " ".join(sample["hang_dump"]["dump"]["errors"]))

    def test_one_line_where_there_is_no_dump(self):
        slow = self.program("slow", "echo begun; sleep 1000")
        for words, says in ((("--hang-dump", slow, "--hang-dump-timeout", "2s"), r"did not end within 2"),
                            (("--hang-dump", self.program("silent", "exit 3\n")), r"silent ended with 3"),
                            (("--hang-dump", "off"), "--hang-dump off")):
            with self.subTest(words=words):
                sample, stderr = self.hang(*words)
                self.assertEqual(sample["hang_dump"]["status"], "none")
                self.assertRegex(sample["hang_dump"]["reason"], says)
                self.assertRegex(stderr, r"(?m)^ublkbench: note: no dump of the hang: .*" + says)
                self.assertEqual(stderr.count("note:"), 1, stderr)


class Doctor(UblkbenchCase):
    def test_this_machine_is_fit(self):
        done = ublk.run(ublk.UBLKBENCH, "doctor")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertTrue(re.search(r"ublk", done.stdout))


if __name__ == "__main__":
    ublk.main()
