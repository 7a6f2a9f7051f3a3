#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""However a program of ours ends, and whatever its streams are, it says so by its exit code and leaves nothing."""

import json
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import time

import jsonschema

import ublk
from ublk import LONG, SERVER, UBLKBENCH, devices, run, succeed, wait_until

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = json.loads((SOURCE / "bench/record/schema/run.schema.json").read_text())
TOOLS = UBLKBENCH.parent
LOAD = TOOLS / "ublk-load"
PROBE = TOOLS / "ublk-probe"
SHORT = ("--mode", "copy", "--qd", "8", "--ios", "500", "--warmup", "100", "--control", "none")
QUICK = (*SHORT, "--repeat", "1")
SEED = int(os.environ.get("UBLKBENCH_SEED", "15"))
# Nothing of a run waits for longer than this, on whatever machine; what the two seconds of the documentation are on
# an idle one is printed.
PATIENCE_S = 60


def null_blocks():
    return sorted(path.name for path in pathlib.Path("/sys/kernel/config/nullb").glob("ublkbench-*"))


def processes_of_session(session):
    """Command names of the processes that were started there and are no zombies."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        words = rest.split()
        if words[0] != "Z" and int(words[3]) == session:
            found.append(name)
    return found


class Folder(ublk.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.addCleanup(lambda: self.assertEqual(null_blocks(), [], "null_blk devices left"))


class Interrupted(Folder):
    """A matrix is interrupted at moments that a seed decides: by Ctrl-C, which reaches every process, and by signals to
    the program alone."""

    WORDS = ("--mode", "copy", "--mode", "batch,auto_zc", "--target", "mem:2M", "--rw", "randrw", "--verify", "on",
             "--qd", "16", "--ios", "1500", "--warmup", "300", "--repeat", "1")

    def interrupt(self, words, delay_s, number, everybody):
        path = self.folder / "run.json"
        path.unlink(missing_ok=True)
        process = subprocess.Popen([UBLKBENCH, *words, "--json", path], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        wait_until(lambda: process.poll() is not None or ublk.catches(process.pid, signal.SIGINT), "it began")
        time.sleep(delay_s)
        began = time.monotonic()
        (os.killpg if everybody else os.kill)(process.pid, number)
        output, errors = process.communicate(timeout=PATIENCE_S)
        took_s = time.monotonic() - began
        if process.returncode == 0:
            return None  # it was done before
        self.assertEqual(process.returncode, 130, output + errors)
        self.assertNotIn("Connection timed out", errors)
        self.assertNotIn("failed:", errors)
        self.assertEqual(set(devices()) - self.devices_before, set(), "devices left")
        self.assertEqual(null_blocks(), [], "null_blk devices left")
        self.assertEqual(processes_of_session(process.pid), [], "processes left")
        if path.exists():
            record = json.loads(path.read_text())
            jsonschema.validate(record, SCHEMA)
            self.assertEqual([sample for sample in record["samples"] if sample["status"] == "failed"], [])
        self.assertLessEqual({entry.name for entry in self.folder.iterdir()}, {"run.json"})
        return took_s

    def interrupt_often(self, words, times, longest_s):
        """So many interrupts of a run; where one came after its end, the machine is faster now, and the next are earlier."""
        dice = random.Random(SEED)
        took = []
        for turn in range(10 * times):
            delay_s = dice.uniform(0, longest_s)
            number = dice.choice((signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            everybody = dice.random() < 0.5
            with self.subTest(seed=SEED, turn=turn, delay_s=round(delay_s, 3), signal=number.name, everybody=everybody):
                took_s = self.interrupt(words, delay_s, number, everybody)
                if took_s is None:
                    longest_s *= 0.8
                else:
                    took.append(took_s)
            if len(took) == times:
                break
        self.assertEqual(len(took), times)
        took.sort()
        print(f"\n{times} interrupts: median {took[times // 2]:.2f} s, longest {took[-1]:.2f} s", flush=True)

    def length_of(self, *words):
        began = time.monotonic()
        succeed(UBLKBENCH, *words, "--json", self.folder / "run.json", timeout_s=300)
        return time.monotonic() - began

    def test_a_matrix_with_verification_and_control(self):
        self.interrupt_often(self.WORDS, 50 if LONG else 6, self.length_of(*self.WORDS) * 0.9)

    def test_with_probes(self):
        words = (*self.WORDS, "--probe", "batch")
        self.interrupt_often(words, 16 if LONG else 2, self.length_of(*words) * 0.9)

    def test_large_blocks(self):
        """Half a gigabyte in flight, which an emulated CPU takes seconds to copy."""
        words = ("--mode", "copy", "--bs", "4M", "--max-io", "4M", "--qd", "128", "--runtime", "60", "--repeat", "1", "--control", "none")
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number.name):
                took_s = self.interrupt(words, 6, number, False)
                print(f"\n4M blocks: {took_s:.2f} s", flush=True)


def shell(text, *programs, timeout_s=120):
    """A shell's redirections; "$1" and so on are the programs. Nobody of ours may keep the shell's own output."""
    return subprocess.run(["bash", "-c", "exec 9>&1; " + text, "sh", *map(str, programs)], capture_output=True, text=True,
                          timeout=timeout_s, stdin=subprocess.DEVNULL)


class Streams(Folder):
    """Streams that are closed, full, or read by nobody."""

    UNREADABLE_STDERR = ("2>&-", "2>/dev/full", "2> >(true)")

    def test_nobody_dies_of_its_own_stderr(self):
        bench = f'"$1" {" ".join(QUICK)} --json {self.folder}/run.json'
        for redirection in self.UNREADABLE_STDERR:
            with self.subTest(redirection=redirection):
                done = shell(f"sleep 0.1; {bench} {redirection}", UBLKBENCH)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertRegex(done.stdout, r"(?m)^copy ")
                record = json.loads((self.folder / "run.json").read_text())
                self.assertEqual([sample["status"] for sample in record["samples"]], ["ok"])

    def test_what_is_said_about_wrong_words_needs_no_reader(self):
        for program in (UBLKBENCH, SERVER, LOAD, PROBE, TOOLS / "ublk-dump", TOOLS / "ublk-report"):
            for redirection in self.UNREADABLE_STDERR:
                with self.subTest(program=program.name, redirection=redirection):
                    done = shell(f'"$1" --nosuch {redirection}', program)
                    self.assertEqual(done.returncode, 2, done)

    def test_results_that_cannot_be_written_are_an_error(self):
        for program, words in ((UBLKBENCH, "modes"), (UBLKBENCH, " ".join(QUICK)), (UBLKBENCH, "--help"), (SERVER, "features"),
                               (SERVER, "list --json"), (LOAD, "/dev/zero-that-is-not-there --help"), (PROBE, "--list"),
                               (TOOLS / "ublk-dump", "--help"), (TOOLS / "ublk-report", "--help")):
            for redirection in (">/dev/full", ">&-"):
                with self.subTest(program=program.name, words=words, redirection=redirection):
                    done = shell(f'"$1" {words} {redirection}', program)
                    self.assertEqual(done.returncode, 2, done)
                    self.assertIn("to stdout", done.stderr)

    def test_add_without_streams_returns_and_serves(self):
        for words in ("add -t null", "add -t null --json"):
            with self.subTest(words=words):
                done = shell(f'"$1" {words} <&- >&- 2>&-', SERVER)
                self.assertEqual(done.returncode, 0)
                (number,) = set(devices()) - self.devices_before
                device = devices()[number]
                for pid in (device["owner_pid"], device["server_pid"]):
                    for stream in "01":
                        self.assertEqual(os.readlink(f"/proc/{pid}/fd/{stream}"), "/dev/null")
                with open(f"/dev/ublkb{number}", "rb") as disk:
                    self.assertEqual(disk.read(4096), bytes(4096))
                succeed(SERVER, "del", "-n", number)

    def test_a_callers_descriptors_are_not_taken_for_our_own(self):
        """As of a shell with 'exec 9>lock': their numbers are free in the background, and our own a moment later."""
        for words in ("add -t null", "add -t mem:16M", "add -m shmem_zc -t mem:16M"):
            with self.subTest(words=words):
                opened = "; ".join(f"exec {number}</dev/null" for number in range(3, 10))
                done = shell(f'{opened}; "$1" {words}', SERVER)
                self.assertEqual(done.returncode, 0, done.stderr)
                (number,) = set(devices()) - self.devices_before
                held = [os.readlink(link) for link in pathlib.Path(f"/proc/{devices()[number]['owner_pid']}/fd").iterdir()]
                self.assertEqual(held.count("/dev/null"), 3, held)
                succeed(SERVER, "del", "-n", number)

    def test_the_reader_of_a_background_server_is_released(self):
        """Not by stdout alone: the shell's descriptor 9 is stdout, too."""
        done = shell('x=$("$1" add -t null); echo "$x"', SERVER, timeout_s=60)
        self.assertIn("/dev/ublkb", done.stdout)
        (number,) = set(devices()) - self.devices_before
        succeed(SERVER, "del", "-n", number)


class Records(Folder):
    def test_one_run_at_a_time_writes_a_record(self):
        long = ("--mode", "copy", "--qd", "8", "--runtime", "60", "--repeat", "1", "--control", "none", "--verify", "off")
        for words in (("--json", self.folder / "run.json"), ("--out", self.folder / "out")):
            with self.subTest(words=words[0]):
                first = subprocess.Popen([UBLKBENCH, *long, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                         text=True)
                try:
                    wait_until(lambda: set(devices()) - self.devices_before, "the first run's device")
                    second = run(UBLKBENCH, *QUICK, *words)
                    self.assertEqual(second.returncode, 2, second.stderr)
                    self.assertIn(f"process {first.pid}", second.stderr)
                    self.assertIn(str(words[1]), second.stderr)
                    self.assertEqual(second.stdout, "")
                finally:
                    first.send_signal(signal.SIGINT)
                    _, errors = first.communicate(timeout=PATIENCE_S)
                self.assertEqual(first.returncode, 130, errors)
                succeed(UBLKBENCH, *QUICK, *words)

    def test_a_full_file_system_keeps_what_was_measured(self):
        for word, name in (("--json", "run.json"), ("--out", "out")):
            with self.subTest(word=word):
                succeed("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", self.folder)
                try:
                    # Room for the record of a sample or two.
                    (self.folder / "filler").write_bytes(bytes((1 << 20) - (90 << 10)))
                    done = run(UBLKBENCH, *SHORT, "--repeat", "40", word, self.folder / name, timeout_s=300)
                    self.assertEqual(done.returncode, 5, done.stdout + done.stderr)
                    self.assertRegex(done.stdout, r"(?m)^copy ")
                    self.assertIn("No space left on device", done.stderr)
                    if word == "--json":
                        record = json.loads((self.folder / name).read_text())
                        jsonschema.validate(record, SCHEMA)
                        self.assertGreater(len(record["samples"]), 0)
                        self.assertEqual({entry.name for entry in self.folder.iterdir()}, {"filler", name})
                    else:
                        lines = (self.folder / name / "samples.jsonl").read_text().splitlines()
                        self.assertGreater(len([json.loads(line) for line in lines]), 0)
                finally:
                    succeed("umount", self.folder)


class Leftovers(Folder):
    def test_a_device_that_its_owner_cannot_remove_is_told_of(self):
        """An unprivileged device whose node nobody gives to its owner, for want of udev."""
        if run("udevadm", "control", "--ping").returncode == 0:
            self.skipTest("udev is running here, and may have the rule")
        os.chmod("/dev/ublk-control", 0o666)
        self.addCleanup(os.chmod, "/dev/ublk-control", 0o600)
        server = self.enterContext(ublk.for_everyone(SERVER))
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        added = run(*nobody, server, "add", "--unprivileged", "-t", "null")
        self.assertEqual(added.returncode, 5, added.stderr)
        (number,) = set(devices()) - self.devices_before
        self.assertEqual(devices()[number]["state"], "DEAD")
        told = f"'sudo ublk-server del -n {number}'"
        self.assertIn(told, added.stderr)
        succeed(SERVER, *told.strip("'").split()[2:])
        self.assertNotIn(number, devices())


class Names(Folder):
    """Names of files are any bytes; records are JSON, which is UTF-8."""

    def test_a_name_that_no_record_could_hold_is_refused(self):
        name = os.fsencode(self.folder) + b"/\xff"
        with open(name, "wb") as file:
            file.truncate(1 << 20)
        for words in ([os.fsencode(SERVER), b"add", b"-t", b"loop:" + name],
                      [os.fsencode(UBLKBENCH), b"--mode", b"copy", b"--target", b"loop:" + name],
                      [os.fsencode(LOAD), name]):
            with self.subTest(words=words):
                done = subprocess.run(words, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
                self.assertEqual(done.returncode, 2, done)
                self.assertIn(b"\\xff' is not UTF-8", done.stderr)

    def test_a_folder_that_is_not_utf8(self):
        folder = os.fsencode(self.folder) + b"/\xff"
        os.mkdir(folder)
        added = subprocess.run([os.path.abspath(SERVER), "add", "-t", "null", "--json"], cwd=folder, capture_output=True,
                               timeout=60, stdin=subprocess.DEVNULL, check=True)
        succeed(SERVER, "del", "-n", json.loads(added.stdout)["id"])
        refused = subprocess.run([os.path.abspath(SERVER), "add", "-t", "null", "--recovery", "reissue"], cwd=folder,
                                 capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(refused.returncode, 2, refused)
        self.assertIn(b"is not UTF-8", refused.stderr)

    def test_a_program_of_any_name_in_the_record(self):
        done = run("bash", "-c", f'exec -a "$(printf "x\\377")" {UBLKBENCH} modes')
        self.assertEqual(done.returncode, 2)
        self.assertIn("is not UTF-8", done.stderr)


if __name__ == "__main__":
    ublk.main()
