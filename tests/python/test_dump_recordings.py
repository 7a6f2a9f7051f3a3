#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Recordings of real hangs of Linux 7.3.4, replayed through the whole program: decoding, rules, text, exit code."""

import base64
import contextlib
import io
import json
import lzma
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import typing
import unittest
import unittest.mock

import dump_paths

dump_paths.need("jsonschema", "drgn")

import jsonschema  # noqa: E402
import judged  # noqa: E402
from scrambled import compare  # noqa: E402

from ublk_drgn import cli, recording  # noqa: E402
from ublk_drgn.block import Tags  # noqa: E402
from ublk_drgn.document import to_json  # noqa: E402
from ublk_drgn.dump import take  # noqa: E402
from ublk_drgn.errors import DumpError, Fault, Implausible, OutOfTime  # noqa: E402
from ublk_drgn.facts import Limits  # noqa: E402
from ublk_drgn.memory import Memory  # noqa: E402
from ublk_drgn.orc import Unwinder  # noqa: E402
from ublk_drgn.queue_io import QueueReader  # noqa: E402
from ublk_drgn.recording import Replay  # noqa: E402
from ublk_drgn.tasks import TaskTable  # noqa: E402
from ublk_drgn.text import render  # noqa: E402
from ublk_drgn.verdict import judge  # noqa: E402

# What each recording of the hang lab must say; None: nothing is stuck.
TRUTH = {
    "never_commits-bad": ("SERVER_HOLDS_IO", "server"),
    "stopped_batch-ours": ("SERVER_STOPPED", "server"),
    "stopped-kublk": ("SERVER_STOPPED", "server"),
    "leak_second_ring-bad": ("BUFFER_REFERENCE", "buffer reference"),
    "no_fetch-bad": ("NO_FETCH_COMMAND", "driver fifo"),
    "cancel_livelock-bad": ("CANCEL_LIVELOCK", "driver"),
    "slow-bad": (None, None),
}


def replay(path, *arguments):
    return subprocess.run([sys.executable, str(dump_paths.DUMP), "--replay", str(path), "--age", "1", *arguments],
                          capture_output=True, text=True, timeout=120)


class Recordings(unittest.TestCase):
    def test_there_is_one_for_each_truth(self):
        self.assertEqual({path.stem for path in dump_paths.RECORDINGS.glob("*.xz")}, set(TRUTH))

    def test_verdicts(self):
        schema = json.loads(dump_paths.SCHEMA.read_text())
        for name, (code, owner) in TRUTH.items():
            with self.subTest(recording=name):
                done = replay(dump_paths.RECORDINGS / f"{name}.xz", "--json")
                self.assertEqual(done.stderr, "")
                document = json.loads(done.stdout)
                jsonschema.validate(document, schema)
                self.assertEqual(document["source"]["kernel"][:5], "7.3.4")
                self.assertEqual((document["missing"], document["errors"]), ([], []))
                stuck = [row for row in document["findings"] if row["severity"] in ("hang", "defect")]
                if code is None:
                    self.assertEqual((stuck, done.returncode), ([], 0))
                    continue
                self.assertEqual(done.returncode, 1)
                self.assertEqual({(row["code"], row["owner"]) for row in stuck}, {(code, owner)})

    @unittest.skipUnless("UBLKBENCH_DWARF" in os.environ, "UBLKBENCH_DWARF=VMLINUX:UBLK_DRV.KO of a -dbg package")
    def test_dwarf_of_the_debug_package_gives_the_same_dump(self):
        words = [word for path in os.environ["UBLKBENCH_DWARF"].split(":") for word in ("--dwarf", path)]
        for name in TRUTH:
            with self.subTest(recording=name):
                path = dump_paths.RECORDINGS / f"{name}.xz"
                documents = [json.loads(replay(path, "--json", *more).stdout) for more in ((), words)]
                self.assertEqual([document["source"].pop("types") for document in documents], ["BTF", "DWARF"])
                for document in documents:
                    document.pop("taken_at")
                self.assertEqual(documents[0], documents[1])

    def test_names_and_order_do_not_matter(self):
        for name in TRUTH:
            with self.subTest(recording=name):
                samples = Replay(str(dump_paths.RECORDINGS / f"{name}.xz"))
                first, second = (to_json(take(samples.kernel, False, samples.select(number))[0]) for number in (0, 1))
                compare(self, lambda document, earlier: judged.judge(document, earlier, Limits(stuck_ns=10**9)), second,
                        first)

    def test_made_before_cgroups_were_looked_at(self):
        document = json.loads(replay(dump_paths.RECORDINGS / "stopped-kublk.xz", "--json").stdout)
        self.assertNotIn("cgroup", document["tasks"][0])  # not None: nobody has looked
        self.assertNotIn("kernel", document["devices"][0]["openers"])

    def test_text(self):
        for name, (code, _owner) in TRUTH.items():
            with self.subTest(recording=name):
                done = replay(dump_paths.RECORDINGS / f"{name}.xz")
                self.assertEqual(done.stderr, "")
                self.assertIn("verdict: nothing is stuck" if code is None else code, done.stdout)
                self.assertIn("device 0: ", done.stdout)
                self.assertIn("server pid ", done.stdout)

    def test_one_device_that_is_not_there(self):
        done = replay(dump_paths.RECORDINGS / "never_commits-bad.xz", "--dev", "55")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1))

    def test_owners_of_mutexes_are_tasks_of_the_dump(self):
        document = json.loads(replay(dump_paths.RECORDINGS / "cancel_livelock-bad.xz", "--json").stdout)
        worker = next(task for task in document["tasks"] if "io_ring_exit_work" in task["roles"])
        self.assertEqual(document["rings"][0]["uring_lock_owner"], worker["address"])

    def test_without_drgn(self):
        # Isolated and without site packages: as on a machine that lacks python3-drgn.
        path = dump_paths.RECORDINGS / "never_commits-bad.xz"
        for words in ((), ("--replay", str(path)), ("--vmcore", str(path))):
            done = subprocess.run([sys.executable, "-I", "-S", str(dump_paths.DUMP), *words], capture_output=True,
                                  text=True, timeout=120)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (3, "", 1), done.stderr)
            self.assertIn("install the package python3-drgn", done.stderr)

    def test_all_tags(self):
        done = replay(dump_paths.RECORDINGS / "never_commits-bad.xz", "--json", "--all-tags")
        queue = json.loads(done.stdout)["devices"][0]["queues"][0]
        self.assertEqual([io["tag"] for io in queue["ios"]], list(range(queue["depth"])))


class Stacks(unittest.TestCase):
    """A task that runs while its stack is read has none: what its memory gives then is '0x1' or worse."""

    def frames(self, *places):
        """Of a task whose stack pointer and on_cpu are these, one after the other."""
        left = list(places)

        class Memory:
            def apart(self):
                self.now = left.pop(0) if len(left) > 1 else left[0]
                return self

            def word(self, _address):
                return self.now[0]

            def read(self, _address, size):
                return int(self.now[1]).to_bytes(size, "little")

        unwinder = Unwinder.__new__(Unwinder)
        unwinder.memory = typing.cast(typing.Any, Memory())
        task = Replay(str(dump_paths.RECORDINGS / "never_commits-bad.xz")).kernel.view("task_struct", 0xFFFF888000000000)
        with unittest.mock.patch.object(Unwinder, "_walk", lambda _self, _task, _sp: [1]):
            return unwinder.frames(task)

    def test_running_or_moving(self):
        asleep, awake = (0xFFFFC90000001000, False), (0xFFFFC90000001000, True)
        self.assertEqual(self.frames(asleep), [1])
        self.assertEqual(self.frames(awake), [])
        self.assertEqual(self.frames(asleep, asleep, awake), [])
        self.assertEqual(self.frames(*((0xFFFFC90000001000 + 8 * number, False) for number in range(12))), [])

    def test_recorded_before_that_was_looked_at(self):
        with lzma.open(dump_paths.RECORDINGS / "cancel_livelock-bad.xz") as file:
            data = json.load(file)
        for sample in data["samples"]:
            sample["stacks"] = {address: stack or ["0x1", "0xffffc900"] for address, stack in sample["stacks"].items()}
        with unittest.mock.patch.object(recording, "load", lambda _path: data):
            samples = Replay("garbled")
            dump = judge(take(samples.kernel, False, samples.select(0))[0])
        self.assertEqual([task for task in dump.tasks if any(frame.startswith("0x") for frame in task.stack)], [])
        self.assertIn("\n      runs\n", render(dump))


class Damaged(unittest.TestCase):
    """Memory that changed under the dump, or was never right: what can be read is shown, the rest is listed."""

    def change(self, change):
        with lzma.open(dump_paths.RECORDINGS / "leak_second_ring-bad.xz") as file:
            data = json.load(file)
        change(data)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "changed.xz"
            with lzma.open(path, "wb", preset=0) as file:
                file.write(json.dumps(data).encode())
            done = replay(path, "--json")
        if done.returncode == 3:  # one line, of what could not be read and what to do; never our own defect
            self.assertEqual(done.stdout, "")
            self.assertRegex(done.stderr, r"\Aublk-dump: [a-z]+ [^\n]+: [^\n]+\n\Z")
            self.assertNotIn("a defect of ublk-dump", done.stderr)
            return done
        self.assertEqual(done.stderr, "")
        document = json.loads(done.stdout)
        jsonschema.validate(document, json.loads(dump_paths.SCHEMA.read_text()))
        verdict = document["verdict"]
        self.assertEqual(done.returncode, verdict["exit_code"])
        self.assertEqual(verdict["partial"], bool(document["errors"]))
        self.assertEqual(verdict["exit_code"], 1 if any(row["severity"] in ("defect", "hang", "consequence")
                                                        for row in document["findings"]) else 4 if document["errors"] else 0)
        return done

    def test_lost_pages(self):
        chance = random.Random(5)
        codes = set()
        for _round in range(5):
            def lose(data):
                for sample in data["samples"]:
                    for number in chance.sample(sorted(sample["pages"]), len(sample["pages"]) // 6):
                        del sample["pages"][number]
            done = self.change(lose)
            codes.add(done.returncode)
            if done.returncode == 4:
                document = json.loads(done.stdout)
                self.assertTrue(document["verdict"]["partial"])
                self.assertIn("cannot read", " ".join(document["errors"]))
        self.assertIn(4, codes)
        self.assertLessEqual(codes, {1, 3, 4})

    def test_garbled_pages(self):
        chance = random.Random(6)
        codes = set()
        for _round in range(5):
            def garble(data):
                for sample in data["samples"]:
                    for number in chance.sample(sorted(sample["pages"]), 12):
                        mask, text = sample["pages"][number]
                        if text != "-":
                            page = bytearray(base64.b64decode(text))
                            for _byte in range(20):
                                page[chance.randrange(len(page))] = chance.randrange(256)
                            sample["pages"][number] = [mask, base64.b64encode(page).decode()]
            codes.add(self.change(garble).returncode)
        self.assertLessEqual(codes, {0, 1, 3, 4})

    def test_damaged_types(self):
        done = self.change(lambda data: data.update(types=data["types"][:400]))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_no_sample(self):
        done = self.change(lambda data: data.update(samples=[]))
        self.assertEqual((done.returncode, done.stderr.count("\n")), (3, 1))
        self.assertIn("no sample", done.stderr)


class GoesAway(unittest.TestCase):
    """A device that goes away in the middle of the dump: from some read on, memory faults or holds something else."""

    # Unmapped, cleared, freed by SLUB (POISON_FREE), nonsense, and used anew by somebody else.
    FILLERS = (None, b"\0", b"\x6b", b"\xff", "anything")
    POINTS = 12

    def sample(self, after, filler):
        """One dump of which only so many reads are good; how many it has had."""
        replay = Replay(str(dump_paths.RECORDINGS / "leak_second_ring-bad.xz"))
        stacks, memory, reads = replay.select(0), replay.kernel.memory, 0

        def fetch(address, size):
            if filler is None:
                raise Fault(address)
            return random.Random(address).randbytes(size) if filler == "anything" else filler * size

        good, bad = memory.read, Memory(fetch).read

        def read(address, size):
            nonlocal reads
            reads += 1
            return good(address, size) if reads <= after else bad(address, size)

        with unittest.mock.patch.object(memory, "read", read):
            try:
                dump = judge(take(replay.kernel, False, stacks)[0])
                render(dump)
                document = to_json(dump)
                json.dumps(document)
            except DumpError:
                return reads, None
        return reads, document

    def test_at_any_point(self):
        total, whole = self.sample(1 << 30, None)
        self.assertEqual(whole["verdict"]["exit_code"], 1)
        self.assertGreater(total, 500)
        partial = 0
        for filler in self.FILLERS:
            for point in range(self.POINTS):
                with self.subTest(filler=filler, point=point):
                    reads, document = self.sample(total * point // self.POINTS, filler)
                    # Memory in which every pointer leads on makes lists as long as they may be.
                    self.assertLess(reads, (2000 if filler == "anything" else 40) * total)
                    partial += bool(document and document["verdict"]["partial"])
                    for device in document["devices"] if document else ():
                        self.assertLess(len(device["server_pids"] or ()), 8, "servers out of freed memory")
        self.assertGreater(partial, self.POINTS)


class Bounds(unittest.TestCase):
    """Nothing that memory says can make a dump go on for ever."""

    def setUp(self):
        replay = Replay(str(dump_paths.RECORDINGS / "leak_second_ring-bad.xz"))
        self.stacks, self.kernel = replay.select(0), replay.kernel

    def test_list_that_has_no_end(self):
        # Each node leads to the next 64 bytes, for ever.
        memory = Memory(lambda address, size: b"".join((address + at + 64).to_bytes(8, "little") + bytes(56)
                                                       for at in range(0, size, 64)))
        for walk in (memory.list_nodes, memory.chain):
            with self.assertRaisesRegex(Implausible, "more than 50 entries"):
                list(walk(1 << 20, 50))

    def test_list_as_long_as_it_may_be(self):
        nodes = {0x1000: 0x2000, 0x2000: 0x3000, 0x3000: 0x1000}
        memory = Memory(lambda address, size: nodes[address].to_bytes(8, "little") + bytes(size - 8))
        self.assertEqual(list(memory.list_nodes(0x1000, 2)), [0x2000, 0x3000])

    def test_sizes_out_of_freed_memory(self):
        queue = unittest.mock.Mock(**{"need.return_value": 5000})
        with self.assertRaisesRegex(Implausible, "a depth of 5000"):
            QueueReader(self.kernel, 0, set(), False).decode(queue, None, None)
        with self.assertRaisesRegex(Implausible, "5000000 tags"):
            Tags(self.kernel, unittest.mock.Mock(**{"need.return_value": 5_000_000}))

    def test_what_is_no_task(self):
        tasks = TaskTable(self.kernel)
        init, idr = self.kernel.variable("init_task"), self.kernel.variable("ublk_index_idr")
        assert init and idr
        self.assertIsNotNone(tasks.get(init.address))
        self.assertIsNone(tasks.get(init.address + 64), "the middle of a task")
        self.assertIsNone(tasks.get(idr.address))

    def test_time_is_up(self):
        self.kernel.memory.bound.start(0)
        with self.assertRaisesRegex(OutOfTime, r"not done after 0 s, while reading [a-z ]+: try again, or .*--timeout"):
            take(self.kernel, False, self.stacks)


class FuzzedTypes(unittest.TestCase):
    """Types damaged at random under a real dump: a dump or one line, and never what is told of a defect of ours."""

    ROUNDS = 60

    def test_dump_or_one_line(self):
        path = str(dump_paths.RECORDINGS / "leak_second_ring-bad.xz")
        data, chance, codes = recording.load(path), random.Random(8), set()
        good = base64.b64decode(data["types"])
        for number in range(self.ROUNDS):
            types = bytearray(good)
            for _change in range(chance.randint(1, 8)):
                place = 24 + 4 * chance.randrange((len(types) - 24) // 4)
                if chance.randrange(2):
                    types[place] ^= 1 << chance.randrange(8)
                else:
                    struct.pack_into("<I", types, place, chance.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF, chance.randrange(3000))))
            fuzzed = {**data, "types": base64.b64encode(types).decode()}
            out, err = io.StringIO(), io.StringIO()
            with self.subTest(round=number), unittest.mock.patch.object(recording, "load", lambda _path: fuzzed), \
                    contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.main("ublk-dump", ["--replay", path, "--json"])
            codes.add(code)
            self.assertEqual(err.getvalue().count("\n"), int(code == 3), err.getvalue())
            self.assertNotIn("a defect of ublk-dump", err.getvalue())
            self.assertEqual(bool(out.getvalue()), code != 3)
        self.assertLessEqual(codes, {0, 1, 3, 4})
        self.assertLessEqual({1, 3}, codes)


if __name__ == "__main__":
    unittest.main(verbosity=2)
