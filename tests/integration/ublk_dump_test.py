#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublk-dump against other sources of the same truth, and its answers where it cannot read."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import ublk
from ublk import run, wait_until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/hanglab"))
sys.path.insert(0, str(ROOT / "drgn"))

from lab import Lab  # noqa: E402

DUMP = ROOT / "drgn/ublk-dump"
DEBUGFS = pathlib.Path("/sys/kernel/debug/block")
# /proc/PID/stack leaves out the functions of the scheduler and of locks.
HIDDEN = {"__schedule", "schedule", "schedule_timeout", "io_schedule", "io_schedule_timeout", "__wait_for_common",
          "schedule_preempt_disabled", "__mutex_lock", "wait_for_completion", "wait_for_completion_io",
          "wait_for_common", "mutex_lock", "msleep"}


def dump(*arguments, codes=(0, 1)):
    done = run("python3", DUMP, "--json", *arguments, timeout_s=200)
    if done.returncode not in codes or done.stderr:
        raise AssertionError(f"exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


class Oracles(ublk.TestCase):
    """Every value that also exists elsewhere is equal there."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.server, cls.number = cls.lab.bad_server("--hold", "-1", "--depth", "8")
        cls.clients = [cls.lab.blocked_read(cls.number, skip=8 * place) for place in range(3)]
        # A worker of io-wq in the middle of the driver, with the module's functions on its stack.
        _server, cls.stopping = cls.lab.bad_server("--hold", "-1", "--flags", "recovery")
        cls.lab.blocked_read(cls.stopping)
        time.sleep(2.5)
        cls.document = dump()
        cls.device = next(row for row in cls.document["devices"] if row["id"] == cls.number)

    @classmethod
    def tearDownClass(cls):
        cls.lab.__exit__()

    def test_get_dev_info(self):
        info = json.loads(self.lab.control_result("info", self.number))
        self.assertEqual(info.pop("result"), 0)
        self.assertEqual(int(self.device["flags_raw"], 16), info.pop("flags"))
        self.assertEqual({0: "DEAD", 1: "LIVE"}[info.pop("state")], self.device["state"])
        self.assertEqual(info, self.device["info"])
        self.assertGreater(len(info), 5)

    def test_sysfs(self):
        block = pathlib.Path(f"/sys/block/ublkb{self.number}")
        self.assertEqual(int((block / "size").read_text()), self.device["disk"]["sectors"])
        self.assertEqual(sum(map(int, (block / "inflight").read_text().split())), self.device["queues"][0]["tags_busy"])
        self.assertEqual(int((block / "queue/nr_requests").read_text()), self.device["queues"][0]["depth"])
        limits = {"logical_block_size": "logical_bs_shift", "physical_block_size": "physical_bs_shift"}
        for file, shift in limits.items():
            self.assertEqual(int((block / "queue" / file).read_text()), 1 << self.device["params"]["basic"][shift])

    def test_block_debugfs(self):
        folder = DEBUGFS / f"ublkb{self.number}"
        busy = (folder / "hctx0/busy").read_text().splitlines()
        theirs = {(int(re.search(r"\.tag=(\d+)", line)[1]), re.search(r"\.op=(\w+)", line)[1],
                   re.search(r"\.state=(\w+)", line)[1]) for line in busy}
        ours = {(io["request"]["tag"], io["request"]["op"], io["request"]["state"].lower())
                for io in self.device["queues"][0]["ios"] if io["place"] == "owned_by_server"}
        self.assertEqual(ours, theirs)
        self.assertEqual(len(ours), 3)
        self.assertEqual(set((folder / "state").read_text().split()[0].split("|")),
                         set(self.device["disk"]["queue"]["flags"]))
        self.assertEqual((folder / "requeue_list").read_text(), "")
        self.assertEqual(self.device["disk"]["queue"]["requeued"], [])
        # rq_flags and cmd_flags as debugfs spells them.
        flags = {frozenset(re.search(r"\.rq_flags=([\w|]*)", line)[1].split("|")) for line in busy}
        self.assertEqual(flags, {frozenset(io["request"]["rq_flags"]) for io in self.device["queues"][0]["ios"]})

    def test_fdinfo(self):
        fdinfo = {}
        for fd in pathlib.Path(f"/proc/{self.server.pid}/fd").iterdir():
            if "io_uring" in os.readlink(fd):
                text = pathlib.Path(f"/proc/{self.server.pid}/fdinfo/{fd.name}").read_text()
                fdinfo = dict(re.findall(r"^(\w+):\s*(\S+)", text, re.M))
        server = next(task["address"] for task in self.document["tasks"] if task["pid"] == self.server.pid)
        ring = next(row for row in self.document["rings"] if server in row["users"])
        for name, value in {"SqHead": ring["queues"]["sq"]["head"], "SqTail": ring["queues"]["sq"]["tail"],
                            "CqHead": ring["queues"]["cq"]["head"], "CqTail": ring["queues"]["cq"]["tail"],
                            "CachedSqHead": ring["cached_sq_head"], "CachedCqTail": ring["cached_cq_tail"],
                            "UserFiles": ring["file_slots"], "UserBufs": ring["buffer_slots"]}.items():
            self.assertEqual(int(fdinfo[name]), value, name)
        self.assertEqual(int(fdinfo["SqMask"], 16) + 1, ring["queues"]["sq"]["entries"])
        self.assertEqual(sum(row["count"] for row in ring["commands"]), 5)  # 8 tags, 3 of them at the server

    def test_descriptors(self):
        openers = self.device["openers"]
        own = [row for row in openers["char"] if row["how"] == "fd"]
        self.assertEqual([row["pid"] for row in own], [self.server.pid])
        for row in own + openers["block"]:
            path = os.readlink(f"/proc/{row['pid']}/fd/{row['fd']}")
            self.assertRegex(path, rf"/dev/ublk[cb]{self.number}$")
        self.assertEqual({row["pid"] for row in openers["block"]}, {client.pid for client in self.clients})

    def test_stacks_and_states(self):
        worker = self.lab.control("stop", self.stopping)
        time.sleep(1)
        document = dump()
        compared = 0
        for task in document["tasks"]:
            if task["state"] not in "DS" or not task["stack"]:
                continue
            try:
                base = pathlib.Path(f"/proc/{task['tgid']}/task/{task['pid']}")
                theirs = [line.split()[1].split("/")[0] for line in (base / "stack").read_text().splitlines()]
                state = re.search(r"^State:\s*(\w)", (base / "status").read_text(), re.M)[1]
            except OSError:
                continue
            ours = [frame.split(" ")[0] for frame in task["stack"]]
            while ours and ours[0].split("+")[0] in HIDDEN and (not theirs or ours[0] != theirs[0]):
                ours.pop(0)
            # msleep() wakes up now and then; what is below it stays.
            self.assertEqual([frame.split("+")[0] for frame in ours], [frame.split("+")[0] for frame in theirs],
                             task["comm"])
            self.assertEqual(state, task["state"], task["comm"])
            compared += 1
        self.assertGreaterEqual(compared, 6)
        stacks = " ".join(frame for task in document["tasks"] for frame in task["stack"])
        self.assertIn("[ublk_drv]", stacks)
        worker.kill()

    def test_ages(self):
        oldest = max(io["request"]["age_ns"] for io in self.device["queues"][0]["ios"])
        self.assertGreater(oldest, 2.5e9)
        self.assertLess(oldest, 300e9)

    def test_clients(self):
        pids = {task["address"]: task["pid"] for task in self.document["tasks"]}
        waiting = {pids[io["request"]["client"]["task"]] for io in self.device["queues"][0]["ios"]}
        self.assertEqual(waiting, {client.pid for client in self.clients})

    def test_schema(self):
        import jsonschema

        schema = json.loads((ROOT / "drgn/ublk_drgn/schema/dump.schema.json").read_text())
        jsonschema.validate(self.document, schema)
        self.assertEqual((self.document["missing"], self.document["errors"]), ([], []))

    def test_recording_replays_to_the_same_verdict(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "hang.xz"
            live = dump("--record", path)
            again = dump("--replay", path)
        for document in (live, again):
            document.pop("taken_at")
        live["source"]["kind"] = again["source"]["kind"]
        self.assertEqual(live, again)


@unittest.skipUnless(ublk.LONG, "ctest -C Long: compiles all of the kernel's types")
class Dwarf(ublk.TestCase):
    """DWARF and BTF give the same dump."""

    def test_types_that_a_compiler_made_of_btf(self):
        with tempfile.TemporaryDirectory() as folder:
            source, debug = pathlib.Path(folder) / "types.c", pathlib.Path(folder) / "types.debug"
            source.write_text(ublk.succeed("bpftool", "-B", "/sys/kernel/btf/vmlinux", "btf", "dump", "file",
                                           "/sys/kernel/btf/ublk_drv", "format", "c"))
            ublk.succeed("gcc", "-g", "-w", "-shared", "-nostdlib", "-fPIC", "-fno-eliminate-unused-debug-types",
                         "-Wl,--build-id", "-o", debug, source, timeout_s=600)
            self.compare("--dwarf", debug)

    @unittest.skipUnless("UBLKBENCH_DWARF" in os.environ, "UBLKBENCH_DWARF=VMLINUX:UBLK_DRV.KO of this kernel's -dbg package")
    def test_debug_package(self):
        self.compare(*(word for path in os.environ["UBLKBENCH_DWARF"].split(":") for word in ("--dwarf", path)))

    def compare(self, *dwarf):
        with Lab() as lab:
            _server, number = lab.bad_server("--hold", "-1", "--flags", "zc")
            lab.blocked_read(number)
            time.sleep(2.5)
            documents = [dump("--samples", "1", *words) for words in (("--types", "btf"), dwarf)]
        self.assertEqual([document["source"].pop("types") for document in documents], ["BTF", "DWARF"])
        for document in documents:
            for name in ("taken_at", "now_ns"):
                document.pop(name)
            for task in document["tasks"]:
                task.pop("off_cpu_ns")
            for part in document["findings"]:
                part.pop("since_ns")
            for device in document["devices"]:
                for queue in device["queues"]:
                    for io in queue["ios"]:
                        io["request"].pop("age_ns")
                        io["request"].pop("age_jiffies")
        self.assertEqual(documents[0], documents[1])


class Refusals(ublk.TestCase):
    """One clear line and the right exit code, never a traceback."""

    def one_line(self, code, pattern, *argv, **options):
        done = run(*argv, timeout_s=120, **options)
        self.assertEqual(done.returncode, code, done.stderr + done.stdout[:500])
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.stdout, "")

    def test_usage(self):
        for words, pattern in ((["--nonsense"], "unrecognized arguments: --nonsense"), (["--dev", "x"], "invalid int"),
                               (["--age", "-1"], "not a number of seconds"), (["--dev", "7777"], "ublk device 7777"),
                               (["--watch", "--vmcore", "x"], "running kernel"),
                               (["--record", "/nosuch/hang.xz"], "/nosuch is not a folder that can be written to"),
                               (["--vmcore", "x", "--replay", "y"], "not allowed with")):
            self.one_line(2, pattern, "python3", DUMP, *words)

    def test_without_root(self):
        self.one_line(3, r"open /proc/kcore: Permission denied \(errno 13\): run as root",
                      "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", DUMP)

    def test_files_that_are_no_dump(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "core"
            self.one_line(3, r"No such file or directory \(errno 2\)", "python3", DUMP, "--vmcore", path)
            self.one_line(3, r"No such file or directory \(errno 2\)", "python3", DUMP, "--replay", path)
            for data in (b"", b"not a dump", pathlib.Path("/bin/true").read_bytes()[:4000]):
                path.write_bytes(data)
                self.one_line(3, "core: ", "python3", DUMP, "--vmcore", path)
                self.one_line(3, "not a recording", "python3", DUMP, "--replay", path)

    def test_damaged_types(self):
        good = pathlib.Path("/sys/kernel/btf/vmlinux").read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "vmlinux"
            for data, pattern in ((good[:100_000], "truncated"), (b"x" + good[1:], "magic number"),
                                  (good[:24] + b"\x7f" * 64 + good[88:], "BTF of vmlinux|another kernel"),
                                  (b"", "less than a header")):
                path.write_bytes(data)
                self.one_line(3, pattern, "python3", DUMP, "--btf", path)
            self.one_line(3, "errno 2", "python3", DUMP, "--btf", pathlib.Path(folder) / "absent")

    def test_types_of_another_kernel(self):
        # Every structure is one byte longer and every member elsewhere: it parses, and fits nothing.
        import struct

        good = bytearray(pathlib.Path("/sys/kernel/btf/vmlinux").read_bytes())
        from ublk_drgn.btf import STRUCT, Blob

        blob = Blob(bytes(good), "vmlinux")
        for type_id in blob.ids("task_struct"):
            head = blob.head(type_id)
            self.assertEqual(head.kind, STRUCT)
            for member in range(head.length):
                place = head.offset + 12 * member + 8
                struct.pack_into("<I", good, place, struct.unpack_from("<I", good, place)[0] + 64)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "vmlinux"
            path.write_bytes(good)
            self.one_line(3, "damaged or of another kernel", "python3", DUMP, "--btf", path)

    def test_devices_that_come_and_go(self):
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                with Lab() as lab:
                    _server, number = lab.bad_server()
                    lab.read(number, count=50)

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for _round in range(3):
                done = run("python3", DUMP, timeout_s=200)
                self.assertIn(done.returncode, (0, 4), done.stdout + done.stderr)
                self.assertEqual(done.stderr, "")
        finally:
            stop.set()
            thread.join()

    def test_no_driver(self):
        self.assertEqual(ublk.devices(), {})
        if run("rmmod", "ublk_drv").returncode != 0:
            self.skipTest("the driver is built in or in use")
        try:
            self.one_line(5, "the ublk driver: it is not loaded: load it with 'modprobe ublk_drv'", "python3", DUMP)
        finally:
            run("modprobe", "ublk_drv")
        wait_until(lambda: os.path.exists("/dev/ublk-control"), "driver is back")


class Watch(ublk.TestCase):
    def test_reports_when_it_gets_stuck(self):
        with Lab() as lab:
            _server, number = lab.bad_server("--hold", "-1")
            watch = lab.start("python3", DUMP, "--watch", "--interval", "0.5", stdout=subprocess.PIPE)
            said = []
            thread = threading.Thread(target=lambda: said.extend(iter(watch.stdout.readline, "")))
            thread.start()
            wait_until(lambda: "verdict: nothing is stuck\n" in said, "first verdict", 120)
            lab.blocked_read(number)
            wait_until(lambda: any("never commits" in line for line in said), "verdict of the hang", 120)
            watch.send_signal(signal.SIGINT)
            self.assertEqual(watch.wait(60), 130)
            thread.join()


class WithoutMemory(ublk.TestCase):
    """/proc/kcore that cannot be read, as under lockdown=confidentiality: less, and said so."""

    def dump(self, *words):
        """With a /proc/kcore that is empty, in a mount namespace of its own."""
        done = run("unshare", "-m", "sh", "-c", 'mount --bind /dev/null /proc/kcore && exec "$@"', "sh",
                   "python3", DUMP, *words, timeout_s=120)
        self.assertEqual((done.returncode, done.stderr), (4, ""), done.stdout)
        return done.stdout

    def test_who_waits_is_still_told(self):
        import jsonschema

        with Lab() as lab:
            server, number = lab.bad_server("--idle", "nap", "--no-defer")
            client = lab.blocked_read(number)
            document = json.loads(self.dump("--json"))
            jsonschema.validate(document, json.loads((ROOT / "drgn/ublk_drgn/schema/dump.schema.json").read_text()))
            self.assertEqual(document["verdict"]["state"], "unknown")
            line = document["verdict"]["line"]
            self.assertIn(f"ublkb{number} has 1 request(s) taken", line)
            self.assertIn(f"bad_server (pid {server.pid}), which has /dev/ublkc{number} open, has not taken 1 completion", line)
            self.assertRegex(line, rf"dd \(pid {client.pid}\), which has /dev/ublkb{number} open, waits in \w+")
            self.assertIn("/proc/kcore", " ".join(document["errors"]))
            os.kill(server.pid, signal.SIGSTOP)
            text = self.dump("--dev", number)
            self.assertIn(f"bad_server (pid {server.pid}), which has /dev/ublkc{number} open, is stopped", text)
            self.assertRegex(text, r"hctx0: tag \d+ READ")
            self.assertRegex(text, r"ring fd \d+: SqMask|ring fd \d+: SqHead")
            self.assertIn("the kernel's memory cannot be read", text)


if __name__ == "__main__":
    ublk.main()
