#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--help of every program and verb: read by people who know neither CLI11 nor our enumerations."""

import os
import re
import subprocess
import unittest

from records import BUILD

PROGRAMS = ("ublkbench", "ublk-server", "ublk-load", "ublk-probe")
# Python's own, which prints its help by itself.
ELSEWHERE = {("ublkbench", "report")}
WIDEST = 100


def help_of(*words):
    done = subprocess.run([str(BUILD / "bench/tools" / words[0]), *words[1:], "--help"], capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"{words}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def verbs_in(text):
    part = text.partition("Subcommands:\n")[2].partition("\n\n")[0]
    return re.findall(r"(?m)^  (\S+)", part)


def all_help():
    """(words, text) of each program and verb, and of the verbs of verbs."""
    waiting: list[tuple[str, ...]] = [(program,) for program in PROGRAMS]
    while waiting:
        words = waiting.pop()
        text = help_of(*words)
        yield words, text
        waiting += [(*words, verb) for verb in verbs_in(text) if (*words, verb) not in ELSEWHERE]


class Help(unittest.TestCase):
    help: dict[tuple[str, ...], str]

    @classmethod
    def setUpClass(cls):
        cls.help = dict(all_help())

    def test_all_programs_have_one_version(self):
        said = {program: subprocess.run([str(BUILD / "bench/tools" / program), "--version"], capture_output=True, text=True,
                                        timeout=60).stdout for program in (*PROGRAMS, "ublk-dump", "ublk-report")}
        versions = {program: re.findall(r"\b\d+\.\d+\.\d+\b", text)[:1] for program, text in said.items()}
        self.assertEqual(len({str(version) for version in versions.values()}), 1, versions)
        self.assertTrue(versions["ublkbench"])

    def test_every_verb_has_one(self):
        self.assertLessEqual({(program,) for program in PROGRAMS}, set(self.help))
        for verb in (("ublkbench", "run"), ("ublkbench", "baseline", "accept"), ("ublk-server", "recover")):
            self.assertIn(verb, self.help)
        for words, text in self.help.items():
            self.assertIn("Usage: " + words[0], text, words)

    def test_nothing_is_for_the_authors_of_the_parser(self):
        for words, text in self.help.items():
            for line in text.splitlines():
                # In the table of options; a footer may have JSON and pipes.
                if re.match(r"  -|  \S+ .*\.\.\.", line):
                    self.assertNotRegex(line, r"\[\[|\]\]|->|[{}]|\bENUM\b|\bU?INT\b|value in| OR |\[=\]", words)

    def test_no_line_is_too_long(self):
        for words, text in self.help.items():
            for line in text.splitlines():
                self.assertLessEqual(len(line), WIDEST + 10 if line.startswith("      ublk") else WIDEST, f"{words}: {line}")

    def test_warmup_is_of_the_same_kind_as_the_work(self):
        """Under icount a run without words is one of fixed work."""
        for shift, value, says in (("1", "1s", "with --ios it is a number of I/Os"),
                                   (None, "many", "without --ios it is a time")):
            env = {name: word for name, word in os.environ.items() if name != "UBLKBENCH_ICOUNT_SHIFT"}
            done = subprocess.run([BUILD / "bench/tools/ublkbench", "--warmup", value], capture_output=True, text=True,
                                  timeout=60, env=env | ({"UBLKBENCH_ICOUNT_SHIFT": shift} if shift else {}))
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertIn(says, done.stderr)

    def test_defaults_are_those_that_are_taken(self):
        run = self.help["ublkbench", "run"]
        for line in (r"-m,--mode WORDS \[copy\]", r"--verify\[=auto\|on\|off\] "):
            self.assertRegex(run, line)
        self.assertRegex(self.help["ublk-probe",], r"-p,--probe PROBE,\.\.\. \[batch\]")
        self.assertRegex(self.help["ublk-server", "add"], r"-m,--mode WORDS \[copy\]")
        # What is not given is as the device was added.
        for verb in ("recover", "upgrade"):
            self.assertNotRegex(self.help["ublk-server", verb], r"--(mode|target|depth) \S+ \[")

    def test_choices_are_named(self):
        self.assertRegex(self.help["ublkbench", "run"], r"--wake-by eventfd\|msg_ring")
        self.assertRegex(self.help["ublk-server", "add"], r"--recovery fail\|reissue\|fail-io")

    def test_the_main_verb_is_explained_once(self):
        for words, text in self.help.items():
            self.assertEqual("Without a verb" in text, words == ("ublkbench",), words)


if __name__ == "__main__":
    unittest.main(verbosity=1)
