#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bad input and poor environments: one line that names what and what to do, the contract's exit
code, and no device left. A new case is a row."""

import dataclasses
import json
import os
import pathlib
import tempfile
import unittest

import ublk
from ublk import run, succeed

USAGE, ENVIRONMENT = 2, 5


@dataclasses.dataclass
class Row:
    words: tuple[str, ...]  # arguments; {folder} is a folder of the test's own
    exit: int
    says: str     # a regular expression for the one line on stderr


SERVER_ROWS = [
    Row(("add", "-m", "nosuch"), USAGE, r"unknown mode word 'nosuch'; .*copy.*batch"),
    Row(("add", "-m", "copy,auto_zc"), USAGE, r"'copy' and 'auto_zc' exclude each other"),
    Row(("add", "-m", ""), USAGE, r"empty mode; for instance"),
    Row(("add", "-m", "batch,get_data"), USAGE, r"not possible: the driver drops UBLK_F_NEED_GET_DATA"),
    Row(("add", "-d", "0"), USAGE, r"queue depth 0; the driver takes 1 to 4096"),
    Row(("add", "-d", "5000"), USAGE, r"queue depth 5000; the driver takes 1 to 4096"),
    Row(("add", "-d", "1", "-m", "batch"), USAGE, r"batch delivery needs a queue depth of 2 or more"),
    Row(("add", "-q", "0"), USAGE, r"0 queues; the driver takes 1 to"),
    Row(("add", "--daemons", "2"), USAGE, r"2 daemons for 1 queues; only batch"),
    Row(("add", "--devices", "0"), USAGE, r"0 devices; give 1 to 1024"),
    Row(("add", "--devices", "2", "--daemons", "3"), USAGE, r"3 daemons for 2 queues with --devices"),
    Row(("add", "--devices", "2", "-r", "fail"), USAGE, r"--recovery with --devices; a server takes over one"),
    Row(("add", "--devices", "2", "-m", "offload"), USAGE, r"mode offload with --devices; daemons that"),
    Row(("add", "--devices", "2", "-m", "per_io_daemon"), USAGE, r"mode per_io_daemon with --devices"),
    Row(("add", "--devices", "2", "-m", "shmem_zc"), USAGE, r"mode shmem_zc with --devices; a client"),
    Row(("add", "--devices", "2", "-t", "loop:{folder}/disk"), USAGE, r"write to the same data: .*%i"),
    Row(("add", "-q", "64"), ENVIRONMENT, r"64 queues: the driver gives at most one per CPU"),
    Row(("add", "--max-io", "1k"), USAGE, r"1024 bytes as the largest I/O; the driver takes 4k to 32M"),
    Row(("add", "--max-io", "64M"), USAGE, r"as the largest I/O; the driver takes 4k to 32M"),
    Row(("add", "--max-io", "many"), USAGE, r"'many' is not a size"),
    Row(("add", "--server-cpus", "x"), USAGE, r"'x' is not a CPU list; for instance"),
    Row(("add", "-t", "nosuch"), USAGE, r"unknown target 'nosuch'; use null, mem:SIZE, loop:PATH, stripe:.* or nbd:"),
    Row(("add", "-t", "mem"), USAGE, r"target mem needs a size; for instance"),
    Row(("add", "-t", "mem:4k"), USAGE, r"target mem of 4096 bytes; give at least 1M"),
    Row(("add", "-t", "loop:{folder}/none"), USAGE, r"{folder}/none: No such file.*; create it first"),
    Row(("add", "-t", "loop:{folder}"), USAGE, r"{folder} is a directory; give a regular file"),
    Row(("add", "-t", "loop:{folder}/small"), USAGE, r"{folder}/small is too small: .*; it needs at least"),
    Row(("add", "-t", "loop:/dev/null"), USAGE, r"/dev/null is neither a regular file nor a block device"),
    Row(("add", "-t", "stripe:{folder}/disk"), USAGE, r"stripe of 1 members; give two or more"),
    Row(("add", "-t", "stripe:{folder}/disk,{folder}/none"), USAGE, r"{folder}/none: No such file"),
    Row(("add", "-t", "stripe:{folder}/disk,{folder}/disk"), USAGE, r"has {folder}/disk twice"),
    Row(("add", "-t", "stripe:{folder}/disk,{folder}/disk2:chunk=1000"), USAGE,
        r"chunk of 1000 bytes; give 512 to 1G"),
    Row(("add", "-t", "stripe:{folder}/disk,{folder}/disk2:chunk=512M"), USAGE,
        r"chunk of 512M; it is larger than the smallest member"),
    Row(("add", "-d", "4096", "--max-io", "32M", "-t", "stripe:{folder}/disk,{folder}/disk2:chunk=4k"),
        USAGE, r"4096 I/Os of 32M in flight; use larger chunks"),
    Row(("add", "-t", "zoned"), USAGE, r"zoned needs a size; for instance"),
    Row(("add", "-t", "zoned:64M:zone=3M"), USAGE, r"zones of bytes 3145728; give a power of two"),
    Row(("add", "-t", "zoned:64M"), USAGE, r"zoned target with mode 'copy'; the driver takes UBLK_F_ZONED"),
    Row(("add", "-t", "zoned:64M", "-m", "auto_zc"), USAGE, r"no such data path: use user_copy or zc"),
    Row(("add", "-t", "zoned:64M", "-m", "user_copy", "--metadata", "8"), USAGE, r"metadata on a zoned target"),
    Row(("add", "-t", "nbd:localhost"), USAGE, r"give nbd:HOST:PORT/NAME"),
    Row(("add", "-t", "nbd:unix:{folder}/none"), USAGE, r"no such socket; start the server first"),
    Row(("add", "-t", "nbd:localhost:1"), ENVIRONMENT, r"localhost:1: .*; is it running"),
    Row(("add", "-t", "null+fault:"), USAGE, r"\+fault: without a fault; for instance"),
    Row(("add", "-t", "null+fault:slow=1ms"), USAGE, r"fault 'slow'; use delay, stall"),
    Row(("add", "-t", "null+fault:error=EVIL"), USAGE, r"fault 'EVIL'; the block layer tells apart EIO"),
    Row(("add", "-t", "null+fault:delay=1ms@often"), USAGE, r"fault 'often'; after '@' goes"),
    Row(("add", "-t", "null+fault:cache=volatile"), USAGE, r"it needs one file .*mem:SIZE or loop:PATH"),
    Row(("add", "-t", "loop:{folder}/disk", "-m", "iopoll"), ENVIRONMENT, r"polled I/O on {folder}/disk; "),
    Row(("add", "--shared-memory", "{folder}/disk"), USAGE, r"--shared-memory does nothing here: the mode is not shmem_zc"),
    Row(("add", "--shared-memory-size", "1M"), USAGE, r"--shared-memory-size does nothing here"),
    Row(("add", "--shared-memory-read-only", "-m", "zc"), USAGE, r"--shared-memory-read-only does nothing here"),
    Row(("add", "--force-fallback-every", "2", "-m", "auto_zc"), USAGE, r"it is for --auto-zc-fallback; leave it out"),
    Row(("add", "--wake-by", "msg_ring"), USAGE, r"--wake-by does nothing here: the mode is not offload"),
    Row(("add", "--wait-us", "9"), USAGE, r"--wait-us does nothing here: it bounds a --wait-count"),
    Row(("add", "--server-cpus", "8000"), USAGE, r"CPU 8000 of --server-cpus: this machine has no such CPU; online are"),
    Row(("add", "--target", ""), USAGE, r"--target is empty"),
    Row(("del",), USAGE, r"no device named; give -n ID"),
    Row(("del", "-n", "999"), USAGE, r"ublk device 999: .*there is no such device"),
]

# The same words for ublkbench; its option for the depth is --qd.
UBLKBENCH_ROWS = [
    Row(("--mode", "nosuch"), USAGE, r"unknown mode word 'nosuch'"),
    Row(("--mode", "copy,auto_zc"), USAGE, r"'copy' and 'auto_zc' exclude each other"),
    Row(("--qd", "0"), USAGE, r"0.*1 to 4096"),
    Row(("--qd", "5000"), USAGE, r"5000.*1 to 4096"),
    Row(("--target", "loop:{folder}/none"), USAGE, r"{folder}/none"),
    Row(("--target", "loop:{folder}"), USAGE, r"{folder} is a directory"),
    Row(("--target", "loop:{folder}/small"), USAGE, r"{folder}/small is too small"),
    # Words that would do nothing.
    Row(("--rate", "0"), USAGE, r"--rate 0; leave it out for a closed loop"),
    Row(("--ios", "0"), USAGE, r"--ios 0; at least one I/O"),
    Row(("--runtime", "0s"), USAGE, r"--runtime 0; some time"),
    Row(("--rwmixread", "70"), USAGE, r"--rwmixread does nothing here: no --rw is rw or randrw; leave it out"),
    Row(("--rwmixread", "70", "--rw", "read,write"), USAGE, r"--rwmixread does nothing here"),
    Row(("--auto-zc-fallback", "--mode", "batch,zc"), USAGE, r"no --mode has the word auto_zc"),
    Row(("--fetches", "2", "--mode", "auto_zc"), USAGE, r"--fetches does nothing here: no --mode has the word batch"),
    Row(("--fetch-tags", "2"), USAGE, r"--fetch-tags does nothing here: no --mode has the word batch"),
    Row(("--wake-by", "eventfd"), USAGE, r"--wake-by does nothing here: no --mode has the word offload"),
    Row(("--wait-us", "9", "--spin-us", "9"), USAGE, r"--wait-us does nothing here: it bounds a --wait-count"),
    Row(("--allow-split",), USAGE, r"--allow-split does nothing here: a device of this run takes up to --max-io"),
    Row(("--hang-dump", "off", "--hang-dump-timeout", "9s"), USAGE, r"--hang-dump-timeout does nothing here"),
    Row(("--json", "-", "--format", "csv"), USAGE, r"--format does nothing here: --json - prints the record"),
    Row(("calibrate", "--record", "{folder}/disk", "--qd", "1"), USAGE, r"--qd does nothing here: --record measures nothing"),
    # Empty words.
    Row(("--device", ""), USAGE, r"--device is empty; give it a value or leave it out"),
    Row(("--json", ""), USAGE, r"--json is empty"),
    Row(("--load-cpus", ""), USAGE, r"--load-cpus is empty"),
    Row(("--probe", ""), USAGE, r"--probe is empty"),
    Row(("--control", ""), USAGE, r"--control is empty"),
    # Words for a server of ours, of which there is none.
    *(Row(("--device", "/dev/nosuch", *words), USAGE,
          rf"{words[0]} does nothing here: with --device somebody else serves the device; leave it out")
      for words in (("--mode", "batch"), ("--target", "null"), ("--queues", "4"), ("--daemons", "4"),
                    ("--max-io", "4M"), ("--server-cpus", "0"), ("--spin-us", "9"), ("--wait-count", "2"),
                    ("--wait-us", "9"), ("--wake-by", "eventfd"), ("--fetches", "2"), ("--fetch-tags", "2"),
                    ("--auto-zc-fallback",))),
    Row(("--device", "{folder}/disk"), USAGE, r"--device {folder}/disk: it is a regular file, no block device"),
    Row(("--device", "{folder}"), USAGE, r"--device {folder}: it is something else, no block device"),
    Row(("--device", "/dev/null"), USAGE, r"--device /dev/null: it is something else, no block device"),
    Row(("--device", "/dev/nosuch"), USAGE, r"--device /dev/nosuch: No such file or directory; name a block device"),
    # What this machine has not.
    Row(("--probe", "speed"), USAGE, r"--probe: unknown probe 'speed'; there are batch, "),
    Row(("--load-cpus", "8000"), USAGE, r"CPU 8000 of --load-cpus: this machine has no such CPU; online are 0"),
    Row(("--server-cpus", "8000"), USAGE, r"CPU 8000 of --server-cpus: this machine has no such CPU"),
    Row(("--queues", "64"), ENVIRONMENT, r"64 queues: the driver gives at most one per CPU, and this machine has \d+; use fewer"),
    Row(("--target", "mem:1024G"), ENVIRONMENT, r"fills 1024.0G of memory, 1024.0G of it for its target, and .*G can be had; use a smaller target"),
    Row(("--target", "zoned:1024G", "--mode", "zc"), ENVIRONMENT, r"1024.0G of it for its target"),
    Row(("--bs", "16M", "--max-io", "32M", "--qd", "4096"), ENVIRONMENT, r"0.0G of it for its target, .*; use a smaller --bs"),
    Row(("--hipri",), ENVIRONMENT, r"--hipri: a ublk device has no poll queues"),
]

LOAD_ROWS = [
    Row(("{folder}/disk", "--rate", "0"), USAGE, r"--rate 0; leave it out"),
    Row(("{folder}/disk", "--ios", "0"), USAGE, r"--ios 0; at least one I/O is needed"),
    Row(("{folder}/disk", "--rwmixread", "9"), USAGE, r"--rwmixread does nothing here: --rw is neither rw nor randrw"),
    Row(("{folder}/disk", "--ios", "9", "--runtime", "1s"), USAGE, r"--ios and --runtime exclude each other"),
    Row(("{folder}/disk", "--warmup", "1s", "--ios", "9"), USAGE, r"--warmup: .*; with --ios it is a number of I/Os"),
    Row(("{folder}/disk", "--warmup", "many"), USAGE, r"--warmup: .*; without --ios it is a time"),
    Row(("{folder}/disk", "--verify-size", "1M"), USAGE, r"--verify-size does nothing here: --verify is not given"),
    Row(("{folder}/disk", "--stores-nothing"), USAGE, r"--stores-nothing does nothing here: --verify is not given"),
    Row(("{folder}/disk", "--verify", "--destructive", "--bs", "8k"), USAGE, r"--bs does nothing here: --verify alone measures nothing"),
    Row(("{folder}/disk", "--verify", "--destructive", "--rate", "8"), USAGE, r"--rate does nothing here: --verify alone"),
    Row(("{folder}/disk", "--json", ""), USAGE, r"--json is empty"),
    Row(("{folder}/disk", "--cpus", "8000"), USAGE, r"CPU 8000 of --load-cpus: this machine has no such CPU"),
]


class BadInput(ublk.TestCase):
    def check(self, done, row, folder=""):
        self.assertEqual(done.returncode, row.exit, done.stderr)
        self.assertRegex(done.stderr, row.says.replace("{folder}", str(folder)))
        self.assertEqual(done.stderr.count("\n"), 1, f"more than one line:\n{done.stderr}")
        self.assertEqual(done.stdout, "")

    def check_rows(self, program, rows):
        with tempfile.TemporaryDirectory(prefix="ublkbench.") as folder:
            ublk.sparse_file(folder, "small", 4096)
            for name in ("disk", "disk2"):
                ublk.sparse_file(folder, name, 16 << 20)
            for row in rows:
                words = [word.replace("{folder}", folder) for word in row.words]
                with self.subTest(words=" ".join(words)):
                    self.check(run(program, *words), row, folder)
                    self.check_nothing_left()

    def test_server(self):
        self.check_rows(ublk.SERVER, SERVER_ROWS)

    @unittest.skipUnless(ublk.UBLKBENCH.exists(), "ublkbench is not built")
    def test_ublkbench(self):
        self.check_rows(ublk.UBLKBENCH, UBLKBENCH_ROWS)

    def test_ublk_load(self):
        self.check_rows(ublk.BUILD / "bench/tools/ublk-load", LOAD_ROWS)

    @unittest.skipUnless(ublk.UBLKBENCH.exists(), "ublkbench is not built")
    def test_what_the_device_cannot_is_refused_before(self):
        with ublk.Device("-t", "mem:16M", "--max-io", "64k", "--logical-block", "4k") as device:
            for words, code, says in (
                    (("--bs", "128k"), USAGE, r"block size 128k is above what .* takes .*; .*give --allow-split"),
                    (("--bs", "512"), USAGE, r"no multiple of the logical block size 4096"),
                    (("--bs", "32M"), USAGE, r"block size 32M is above the size 16M"),
                    (("--hipri",), ENVIRONMENT, r"has no poll queues")):
                with self.subTest(words=words):
                    self.check(run(ublk.UBLKBENCH, "--device", device.path, *words), Row((), code, says))
        with ublk.NullBlk("ublkbench-test-bad") as device:
            self.check(run(ublk.UBLKBENCH, "--device", device.path, "--probe", "batch"),
                       Row((), USAGE, r"--probe with --device .*; the probes are for ublk devices"))

    @unittest.skipUnless(ublk.UBLKBENCH.exists(), "ublkbench is not built")
    def test_open_files_are_counted_before(self):
        done = run("prlimit", "--nofile=24:24", ublk.UBLKBENCH, "--control", "none")
        self.check(done, Row((), ENVIRONMENT, r"open-file limit of 24; 1 server thread.* need about \d+; raise it"))

    def test_version_is_that_of_the_records(self):
        for name in ("ublkbench", "ublk-server", "ublk-load", "ublk-probe"):
            program = ublk.BUILD / "bench/tools" / name
            if program.exists():
                with self.subTest(program=name):
                    self.assertRegex(succeed(program, "--version"), r"^\d+\.\d+\.\d+ \([0-9a-f]{7,40}(, dirty)?\)$")

    def test_unknown_option(self):
        done = run(ublk.SERVER, "add", "--nosuch")
        self.assertEqual(done.returncode, USAGE)
        self.assertIn("--nosuch", done.stderr)

    def test_target_that_is_in_use(self):
        disk = ublk.scratch_disk(0)
        with ublk.Device("-t", f"loop:{disk}"):
            self.check(run(ublk.SERVER, "add", "-t", f"loop:{disk}"),
                       Row((), USAGE, r"process [0-9]+ \(ublk-server\) has it open; two users"))

    def test_a_file_where_the_device_goes(self):
        # What a client leaves that creates its file after the device went: devtmpfs keeps it.
        path = "/dev/ublkb77"
        pathlib.Path(path).write_bytes(bytes(4096))
        try:
            self.check(run(ublk.SERVER, "add", "-n", "77"),
                       Row((), ENVIRONMENT, r"/dev/ublkb77: .*it is no device node: .*remove the file"))
        finally:
            os.unlink(path)

    def test_device_id_that_is_in_use(self):
        with ublk.Device("-t", "null") as device:
            done = run(ublk.SERVER, "add", "-n", device.id)
            self.check(done, Row((), USAGE, rf"device id {device.id} is in use: choose another id, or remove"))

    def test_no_permission(self):
        server = self.enterContext(ublk.for_everyone(ublk.SERVER))
        row = Row((), ENVIRONMENT, r"/dev/ublk-control: Permission denied; run as root")
        for verb in (("add",), ("list",), ("features",), ("del", "-n", "0")):
            with self.subTest(verb=verb):
                self.check(run("setpriv", "--reuid=nobody", "--clear-groups", server, *verb), row)
        # The node is open to all, and the driver still refuses.
        mode = os.stat("/dev/ublk-control").st_mode
        os.chmod("/dev/ublk-control", 0o666)
        try:
            self.check(run("setpriv", "--reuid=nobody", "--clear-groups", server, "add"),
                       Row((), ENVIRONMENT, r"ADD_DEV.*needs CAP_SYS_ADMIN \(run as root\)"))
        finally:
            os.chmod("/dev/ublk-control", mode & 0o777)

    @unittest.skipUnless(ublk.IN_VM, "takes the driver away: only in the VM of scripts/vm")
    def test_no_driver(self):
        succeed("rmmod", "ublk_drv")
        try:
            for program, verb in ((ublk.SERVER, "add"), (ublk.SERVER, "list"), (ublk.SERVER, "features"),
                                  (ublk.SERVER, "del --orphans"), (ublk.UBLKBENCH, "--control none"), (ublk.UBLKBENCH, "modes")):
                with self.subTest(program=program.name, verb=verb):
                    done = run(program, *verb.split())
                    self.assertEqual(done.returncode, ENVIRONMENT, done.stderr)
                    self.assertRegex(done.stderr, r"/dev/ublk-control: .*; no ublk driver\n"
                                                  r"  the module is installed; load it as root: modprobe ublk_drv\n"
                                                  r"  .*scripts/vm.*\n"
                                                  r"  .*ublkbench doctor\n$")
        finally:
            succeed("modprobe", "ublk_drv")
            ublk.wait_until(lambda: os.path.exists("/dev/ublk-control"), "driver is back")

    def test_server_needs_no_locked_memory(self):
        # io_uring charges rings to the cgroup and registers no memory of ours: a low limit is no
        # obstacle, and that is to stay so.
        added = run("prlimit", "--memlock=0:0", "setpriv", "--bounding-set=-ipc_lock",
                    "--inh-caps=-ipc_lock", ublk.SERVER, "add", "--json", "-m", "batch,auto_zc")
        self.assertEqual(added.returncode, 0, added.stderr)
        succeed(ublk.SERVER, "del", "-n", json.loads(added.stdout)["id"])


if __name__ == "__main__":
    ublk.main()
