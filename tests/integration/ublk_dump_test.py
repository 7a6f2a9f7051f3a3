#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublk-dump with other types, where it cannot read, on what goes away under it, and watching."""

import concurrent.futures
import json
import os
import pathlib
import shutil
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


def dump(*arguments, codes=(0, 1)):
    done = run("python3", DUMP, "--json", *arguments)
    if done.returncode not in codes or done.stderr:
        raise AssertionError(f"exit {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


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
        done = run(*argv, **options)
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
        with tempfile.TemporaryDirectory() as folder:  # the clone may be where only root can go
            os.chmod(folder, 0o755)
            shutil.copytree(ROOT / "drgn", f"{folder}/drgn")
            self.one_line(3, r"open /proc/kcore: Permission denied \(errno 13\): run as root",
                          "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3",
                          f"{folder}/drgn/ublk-dump")

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
            rounds = 0
            while not stop.is_set():
                with Lab() as lab:
                    _server, number = lab.bad_server()
                    lab.read(number, count=50)
                rounds += 1
            return rounds

        with concurrent.futures.ThreadPoolExecutor() as pool:
            churning = pool.submit(churn)
            try:
                for _round in range(3):
                    done = run("python3", DUMP)
                    self.assertIn(done.returncode, (0, 4), done.stdout + done.stderr)
                    self.assertEqual(done.stderr, "")
            finally:
                stop.set()
            self.assertGreater(churning.result(), 0)

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
            said: list[str] = []
            thread = threading.Thread(target=lambda: said.extend(iter(watch.stdout.readline, "")))
            thread.start()
            wait_until(lambda: "verdict: nothing is stuck\n" in said, "first verdict")
            lab.blocked_read(number)
            wait_until(lambda: any("never commits" in line for line in said), "verdict of the hang")
            watch.send_signal(signal.SIGINT)
            self.assertEqual(watch.wait(60), 130)
            thread.join()


class WithoutMemory(ublk.TestCase):
    """/proc/kcore that cannot be read, as under lockdown=confidentiality: less, and said so."""

    def dump(self, *words):
        """With a /proc/kcore that is empty, in a mount namespace of its own."""
        done = run("unshare", "-m", "sh", "-c", 'mount --bind /dev/null /proc/kcore && exec "$@"', "sh",
                   "python3", DUMP, *words)
        self.assertEqual((done.returncode, done.stderr), (4, ""), done.stdout)
        return done.stdout

    def test_without_drgn(self):
        # Isolated and without site packages: as on a machine that lacks python3-drgn.
        with Lab() as lab, tempfile.TemporaryDirectory() as folder:
            server, number = lab.bad_server("--hold", "-1")
            lab.blocked_read(number)
            done = run("python3", "-I", "-S", DUMP, "--record", f"{folder}/hang.xz", timeout_s=120)
            self.assertEqual((done.returncode, done.stderr), (4, ""), done.stdout)
            self.assertIn(f"ublkb{number} has 1 request(s) taken", done.stdout)
            self.assertIn(f"bad_server (pid {server.pid}) has /dev/ublkc{number} open", done.stdout)
            self.assertIn("install the package python3-drgn", done.stdout)
            self.assertIn("no recording in", done.stdout)

    def test_reading_that_takes_too_long(self):
        with Lab() as lab:
            server, number = lab.bad_server("--hold", "-1")
            lab.blocked_read(number)
            done = run("python3", DUMP, "--timeout", "0", timeout_s=120)
            self.assertEqual((done.returncode, done.stderr), (4, ""), done.stdout)
            self.assertRegex(done.stdout, "read the kernel's memory: not done after 0 s, while reading [^:]+: try again")
            self.assertIn(f"bad_server (pid {server.pid}) has /dev/ublkc{number} open", done.stdout)

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
