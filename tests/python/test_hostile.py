# SPDX-License-Identifier: MIT
"""Records that somebody damaged, and streams that cannot be written: an exit code that is documented and one line."""

import copy
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

from records import UBLKBENCH, cell, record, sample, write

SEED = int(os.environ.get("UBLKBENCH_SEED", "15"))
TIMES = 400 if os.environ.get("UBLKBENCH_LONG") == "1" else 40
TOOLS = UBLKBENCH.parent
REPORT = pathlib.Path(__file__).resolve().parents[2] / "reports/ublk-report"
STRANGERS: tuple[object, ...] = (None, True, -1, 0, 1.5, 1e308, 2**64, 2**70, "", "x", "\x00", [], [[]], {}, {"": None}, ["copy"] * 3)


def ublkbench(*words):
    return subprocess.run([str(UBLKBENCH), *map(str, words)], capture_output=True, text=True, errors="replace", timeout=60,
                          stdin=subprocess.DEVNULL)


def good():
    cells = [cell(), cell("batch"), cell(kind="control", target="null_blk")]
    return record(cells, [sample(one, number) for number in range(3) for one in cells])


def places(document, path=()):
    """The path of every value below the top."""
    inside = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in inside:
        yield (*path, key)
        yield from places(value, (*path, key))


def damaged(dice):
    """A record with a few values of other types, or without them."""
    document = good()
    for _ in range(dice.choice((1, 1, 2, 5))):
        path = dice.choice(list(places(document)))
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        if dice.random() < 0.25:
            del parent[path[-1]]
        else:
            parent[path[-1]] = copy.deepcopy(dice.choice(STRANGERS))
    return json.dumps(document).encode()


def mangled(dice):
    """Bytes that are not JSON any more."""
    data = bytearray(json.dumps(good()).encode())
    kind = dice.randrange(4)
    if kind == 0:
        del data[dice.randrange(len(data)):]
    elif kind == 1:
        for _ in range(dice.randrange(1, 20)):
            data[dice.randrange(len(data))] = dice.randrange(256)
    elif kind == 2:
        data[dice.randrange(len(data)):0] = bytes(dice.randrange(1, 64))
    else:
        depth = dice.choice((100, 5000, 200000))
        data = b'{"schema":"ublkbench.run/1","run":' + b"[" * depth + b"]" * depth + b"}"
    return bytes(data)


class Damaged(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.whole = write(self.folder / "whole.json", good())

    def check(self, done, allowed=(0, 1, 2, 3, 4, 5)):
        self.assertIn(done.returncode, allowed, done.stderr)
        for word in ("terminate called", "Traceback", "what()"):
            self.assertNotIn(word, done.stderr)
        if done.returncode == 2:
            self.assertNotEqual(done.stderr, "")

    def verbs(self, path):
        yield ("compare", path, self.whole)
        yield ("compare", self.whole, path, "--format", "json")
        yield ("explain", path)
        yield ("calibrate", "--record", path)
        yield ("trend", "add", self.folder / "history.jsonl", path)
        yield ("baseline", "accept", self.folder / "baseline.json", path, "--reason", "test")
        yield ("gate", "--baseline", path, self.whole)

    def test_no_record_ends_in_an_exception(self):
        dice = random.Random(SEED)
        path = self.folder / "damaged.json"
        for turn in range(TIMES):
            path.write_bytes(dice.choice((damaged, damaged, mangled))(dice))
            for verb in self.verbs(path):
                with self.subTest(seed=SEED, turn=turn, verb=verb[0]):
                    self.check(ublkbench(*verb))

    def test_no_history_ends_in_an_exception(self):
        dice = random.Random(SEED + 1)
        history = self.folder / "history.jsonl"
        self.assertEqual(ublkbench("trend", "add", history, self.whole).returncode, 0)
        line = json.loads(history.read_text())
        for turn in range(TIMES):
            document = copy.deepcopy(line)
            path = dice.choice(list(places(document)))
            parent = document
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = copy.deepcopy(dice.choice(STRANGERS))
            history.write_text(json.dumps(document) + "\n")
            with self.subTest(seed=SEED, turn=turn, path=path):
                self.check(ublkbench("trend", "show", history))

    def test_no_page_ends_in_a_traceback(self):
        dice = random.Random(SEED + 2)
        path = self.folder / "damaged.json"
        for turn in range(TIMES // 8):
            path.write_bytes(dice.choice((damaged, damaged, mangled))(dice))
            with self.subTest(seed=SEED, turn=turn):
                done = subprocess.run([sys.executable, REPORT, path, "--html", self.folder / "page.html"], timeout=120,
                                      capture_output=True, text=True, stdin=subprocess.DEVNULL)
                self.check(done)

    def test_what_is_no_file(self):
        for path in (self.folder, "/dev/null", "/nosuch", "/proc/self/mem", "/dev/zero"):
            for verb in self.verbs(path):
                with self.subTest(path=path, verb=verb[0]):
                    self.check(ublkbench(*verb), allowed=(2, 5))


def shell(text, *programs):
    return subprocess.run(["bash", "-c", text, "sh", *map(str, programs)], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL)


class Streams(unittest.TestCase):
    """Programs, as far as they can be tried without a driver; integration.interrupt tries the rest."""

    PROGRAMS = ("ublkbench", "ublk-server", "ublk-load", "ublk-probe", "ublk-dump", "ublk-report")

    def test_what_is_said_needs_no_reader(self):
        for program in self.PROGRAMS:
            for redirection in ("2>&-", "2>/dev/full", "2> >(true)", "<&- 2>&-"):
                with self.subTest(program=program, redirection=redirection):
                    self.assertEqual(shell(f'"$1" --nosuch {redirection}', TOOLS / program).returncode, 2)

    def test_results_that_cannot_be_written_are_an_error(self):
        for program in self.PROGRAMS:
            for redirection in (">/dev/full", ">&-"):
                with self.subTest(program=program, redirection=redirection):
                    done = shell(f'"$1" --help {redirection}', TOOLS / program)
                    self.assertEqual(done.returncode, 2, done)
                    self.assertIn("to stdout", done.stderr)

    def test_words_that_are_not_utf8(self):
        for program in self.PROGRAMS:
            with self.subTest(program=program):
                done = subprocess.run([TOOLS / program, b"/tmp/\xff"], capture_output=True, timeout=120, check=False)
                self.assertEqual(done.returncode, 2, done)
                self.assertNotIn(b"Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
