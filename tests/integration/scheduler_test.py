#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The I/O scheduler of measured devices: none unless asked for, recorded, compared; and other people's devices have
theirs back, however the run ends."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile

import jsonschema

import ublk

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = json.loads((SOURCE / "bench/record/schema/run.schema.json").read_text())
QUICK = ("--ios", "2000", "--warmup", "200", "--repeat", "1", "--qd", "8")


def chosen(text):
    """The word in brackets."""
    return text[text.index("[") + 1:text.index("]")] if "[" in text else text.strip()


class Queue:
    """What somebody set the queue of his disk to."""

    def __init__(self, name):
        self.folder = pathlib.Path("/sys/block") / name / "queue"

    @property
    def scheduler(self):
        return chosen((self.folder / "scheduler").read_text())

    def write(self, name, value):
        (self.folder / name).write_text(str(value))

    def settings(self):
        paths = [self.folder / "nr_requests", self.folder / "wbt_lat_usec", *(self.folder / "iosched").glob("*")]
        found = {"scheduler": self.scheduler}
        for path in paths:
            try:
                found[path.name] = path.read_text().strip()
            except OSError:
                pass
        return found


class SchedulerCase(ublk.TestCase):
    @classmethod
    def setUpClass(cls):
        # Built in on most distributions; a device of one queue gets it as soon as it is there.
        ublk.succeed("modprobe", "mq-deadline")

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def bench(self, *words, exit=0, name="run", before=()):
        path = self.folder / f"{name}.json"
        done = ublk.run(*before, ublk.UBLKBENCH, *words, *QUICK, "--json", path, timeout_s=170)
        self.assertEqual(done.returncode, exit, done.stdout + done.stderr)
        record = json.loads(path.read_text()) if path.exists() else None
        if record is not None:
            jsonschema.validate(record, SCHEMA)
        return record, done.stdout, done.stderr

    def schedulers(self, record):
        return {sample["cell"].split()[0]: sample["device"]["scheduler"] for sample in record["samples"]}


class Ours(SchedulerCase):
    def test_a_ublk_device_and_the_control_have_none(self):
        record, text, stderr = self.bench("--mode", "copy", "--mode", "user_copy")
        self.assertEqual(self.schedulers(record)["copy"],
                         {"asked": "none", "found": "mq-deadline", "in_force": "none"})
        self.assertEqual({s["in_force"] for s in self.schedulers(record).values()}, {"none"})
        self.assertEqual({s["device"]["queue_limits"]["scheduler"] for s in record["samples"]}, {"none"})
        self.assertNotIn("scheduler", text)
        self.assertNotIn("scheduler", stderr)

    def test_it_is_an_axis(self):
        record, text, _ = self.bench("--mode", "copy", "--scheduler", "none,mq-deadline", name="both")
        cells = {cell["id"]: cell.get("scheduler", "none") for cell in record["cells"]}
        self.assertEqual(sorted(cells.values()), ["mq-deadline"] * 2 + ["none"] * 2)
        for sample in record["samples"]:
            self.assertEqual(sample["device"]["scheduler"]["in_force"], cells[sample["cell"]], sample["cell"])
        self.assertRegex(text, r"(?m)^mode .* scheduler ")
        compared = ublk.succeed(ublk.UBLKBENCH, "compare", self.folder / "both.json", "--columns", "scheduler")
        self.assertNotIn("I/O scheduler", compared)  # the columns' names say it
        self.assertRegex(compared, r"(?m)^copy null ")

    def test_runs_under_different_ones_share_no_cell(self):
        self.bench("--mode", "copy", name="none")
        record, text, _ = self.bench("--mode", "copy", "--scheduler", "mq-deadline", name="deadline")
        self.assertEqual({s["in_force"] for s in self.schedulers(record).values()}, {"mq-deadline"})
        self.assertIn(", scheduler mq-deadline, 1 queue(s)", text)
        compared = ublk.succeed(ublk.UBLKBENCH, "compare", self.folder / "none.json", self.folder / "deadline.json")
        self.assertRegex(compared, "scheduler=mq-deadline: deadline is unmeasurable: measured on one side only")
        self.assertNotRegex(compared, " (same|worse|better)\n")

    def test_keep_leaves_what_the_block_layer_chose(self):
        record, text, _ = self.bench("--mode", "copy", "--scheduler", "keep", "--control", "none")
        self.assertEqual(self.schedulers(record)["copy"]["in_force"], "mq-deadline")
        self.assertIn("scheduler in force mq-deadline", text)

    def test_a_word_that_is_not_offered_is_refused_before_the_matrix(self):
        record, _, stderr = self.bench("--scheduler", "nosuch", exit=2)
        self.assertIsNone(record)
        self.assertRegex(stderr, r"--scheduler nosuch: .* does not offer it; it has .*none.*mq-deadline")
        self.assertEqual(stderr.count("\n"), 1, stderr)

    def test_a_read_only_sys_is_told_and_the_table_names_what_was_in_force(self):
        script = 'mount -o remount,ro,bind /sys && exec "$@"'
        record, text, stderr = self.bench("--mode", "copy", "--control", "none",
                                          before=("unshare", "-m", "sh", "-c", script, "sh"))
        self.assertEqual(self.schedulers(record)["copy"]["in_force"], "mq-deadline")
        self.assertIn("scheduler in force mq-deadline", text)
        self.assertRegex(stderr, r"(?m)^ublkbench: note: the I/O scheduler is not 'none': write none to "
                                 r"/sys/class/block/ublkb\d+/queue/scheduler: Read-only file system$")


class Theirs(SchedulerCase):
    """A disk that the run did not make, with a scheduler that its owner has tuned."""

    NAME = "ublkbench_theirs"

    def setUp(self):
        super().setUp()
        disk = ublk.NullBlk(self.NAME, submit_queues=1, hw_queue_depth=64, completion_nsec=1000000, irqmode=2)
        self.addCleanup(disk.__exit__)
        self.path = disk.path
        self.queue = Queue(self.NAME)
        self.queue.write("scheduler", "mq-deadline")
        self.queue.write("iosched/read_expire", 123)
        self.queue.write("nr_requests", 77)
        self.before = self.queue.settings()
        self.assertEqual(self.before["nr_requests"], "77")

    def test_none_while_it_is_measured_and_its_own_afterwards(self):
        record, _, stderr = self.bench("--device", self.path, "--control", "none")
        (sample,) = record["samples"]
        self.assertEqual(sample["device"]["scheduler"]["in_force"], "none")
        self.assertEqual(sample["device"]["queue_limits"]["scheduler"], "none")
        self.assertIn(f"note: I/O scheduler of {self.NAME}: none for this run, mq-deadline again at its end\n", stderr)
        self.assertEqual(self.queue.settings(), self.before)

    def test_as_a_control(self):
        record, _, _ = self.bench("--mode", "copy", "--control", self.path)
        self.assertEqual({s["in_force"] for s in self.schedulers(record).values()}, {"none"})
        self.assertEqual(self.queue.settings(), self.before)

    def test_keep_touches_nothing(self):
        record, text, stderr = self.bench("--device", self.path, "--control", "none", "--scheduler", "keep")
        self.assertEqual(record["samples"][0]["device"]["scheduler"]["in_force"], "mq-deadline")
        self.assertIn("scheduler in force mq-deadline", text)
        self.assertNotIn("note: I/O scheduler", stderr)
        self.assertEqual(self.queue.settings(), self.before)

    def test_after_an_error(self):
        ublk.succeed("blockdev", "--setro", self.path)
        done = ublk.run(ublk.UBLKBENCH, "--device", self.path, "--rw", "randwrite", "--destructive", "--control", "none",
                        *QUICK)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.queue.settings(), self.before)

    def running(self, *words):
        process = subprocess.Popen([ublk.UBLKBENCH, "--device", self.path, "--control", "none", "--repeat", "1", "--qd",
                                    "8", *(words or ("--runtime", "100s"))], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        ublk.wait_until(lambda: self.queue.scheduler == "none", "the run sets the scheduler")
        return process

    def test_after_ctrl_c_and_sigterm(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                process = self.running()
                process.send_signal(number)
                process.communicate(timeout=60)
                self.assertEqual(process.returncode, 130)
                self.assertEqual(self.queue.settings(), self.before)

    def test_after_kill_9_the_next_run_puts_it_back(self):
        process = self.running()
        process.kill()
        process.communicate(timeout=60)
        self.assertEqual(self.queue.scheduler, "none")
        _, _, stderr = self.bench("--mode", "copy", "--control", "none")
        self.assertIn(f"note: put I/O scheduler mq-deadline back on {self.NAME}, changed by a run that was killed\n",
                      stderr)
        self.assertEqual(self.queue.settings(), self.before)

    def test_what_somebody_chose_since_is_left(self):
        process = self.running()
        process.kill()
        process.communicate(timeout=60)
        self.queue.write("scheduler", "mq-deadline")
        chosen_since = self.queue.settings()
        self.assertNotEqual(chosen_since, self.before)
        _, _, stderr = self.bench("--mode", "copy", "--control", "none")
        self.assertNotIn("put I/O scheduler", stderr)
        self.assertEqual(self.queue.settings(), chosen_since)

    def test_a_change_in_the_middle_fails_the_sample(self):
        process = self.running("--runtime", "3s")
        ublk.wait_until(lambda: self.in_flight() > 0, "the load runs")
        self.queue.write("scheduler", "mq-deadline")
        stdout, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 5)
        self.assertRegex(stdout, rf'the I/O scheduler of {self.path} changed from none to mq-deadline while')
        self.assertEqual(self.queue.scheduler, "mq-deadline")

    def in_flight(self):
        return sum(int(word) for word in (self.queue.folder.parent / "inflight").read_text().split())


class WithoutOne(SchedulerCase):
    def setUp(self):
        super().setUp()
        if ublk.run("modprobe", "brd", "rd_nr=1", "rd_size=16384").returncode != 0 or not os.path.exists("/dev/ram0"):
            self.skipTest("this kernel has no brd")
        self.addCleanup(ublk.run, "rmmod", "brd")

    def test_a_device_that_works_on_bios(self):
        record, text, _ = self.bench("--device", "/dev/ram0", "--control", "none")
        self.assertIsNone(record["samples"][0]["device"]["scheduler"]["in_force"])
        self.assertNotIn("scheduler", text)
        _, _, stderr = self.bench("--device", "/dev/ram0", "--control", "none", "--scheduler", "mq-deadline", exit=2,
                                  name="refused")
        self.assertIn("--scheduler mq-deadline: /dev/ram0 has no I/O scheduler", stderr)


if __name__ == "__main__":
    ublk.main()
