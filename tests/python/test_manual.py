#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Man pages and completions say what --help says: the same verbs and options, no other, and in a form that can be read."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from records import BUILD
from test_help import all_help, verbs_in

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "scripts"), str(ROOT / "drgn"), str(ROOT / "reports")]

from manual import markdown_page, roff  # noqa: E402
from ublk_drgn import cli as dump  # noqa: E402
from ublk_report import cli as report  # noqa: E402

MANUAL = BUILD.absolute() / "manual"
COMPLETIONS = BUILD.absolute() / "completions"
DEFAULT_VERB = {("ublkbench",): ("ublkbench", "run")}
# Each is read with the tools of its shell; without them with what is here.
BUILD_ROOT = os.environ.get("UBLKBENCH_ROOT") == "1"


def options_in(text):
    """Names of all options of a --help, CLI11's or argparse's."""
    names = set()
    for row in re.findall(r"(?m)^  (-.*?)(?:  |$)", text):
        names |= set(re.findall(r"(?:^|[ ,])(--?[a-z][a-z-]*)", row))
    return names


def helps():
    """Options and verbs that --help shows, by the words before them."""
    found = {words: (options_in(text), set(verbs_in(text))) for words, text in all_help()}
    found["ublk-dump",] = options_in(dump.parser().format_help()), set()
    found["ublk-report",] = options_in(report.parser("ublk-report").format_help()), set()
    found["ublkbench", "report"] = set(), set()  # it hands all to ublk-report
    return found


def plain(text):
    """What roff shows of a line."""
    text = re.sub(r"\\f[BIR]", "", text)
    for typed, shown in ((r"\-", "-"), (r"\(aq", "'"), (r"\(ti", "~"), (r"\(ha", "^"), (r"\(dq", '"'), (r"\&", ""), (r"\e", "\\")):
        text = text.replace(typed, shown)
    return text


def page_parts(program):
    """The lines of each verb in a program's page, by its words."""
    text = (MANUAL / f"{program}.1").read_text()
    parts: dict[tuple[str, ...], list[str]] = {}
    part: list[str] = []
    for row in text.splitlines():
        if row.startswith(('.SH "OPTIONS"', '.SS "')):
            words = (program,) if "OPTIONS" in row else tuple(plain(row[5:-1]).split())
            part = parts.setdefault(words, [])
        elif row.startswith(".SH"):
            part = []
        part.append(row)
    return parts


def tags(rows):
    return [plain(rows[at + 1]) for at, row in enumerate(rows) if row == ".TP"]


class Shell(unittest.TestCase):
    helps: dict[tuple[str, ...], tuple[set[str], set[str]]]

    @classmethod
    def setUpClass(cls):
        cls.helps = helps()

    def expected(self, words):
        """With the default verb's options, where there is no verb yet."""
        options, verbs = self.helps[words]
        return options | self.helps.get(DEFAULT_VERB.get(words, ()), (set(), set()))[0], verbs

    def tool(self, name):
        """The build root must have it; on another machine its tests are skipped where it is not."""
        found = shutil.which(name)
        if found is None:
            if BUILD_ROOT:
                self.fail(f"the build root has no {name}")
            self.skipTest(f"{name} is not installed")
        return found


class Pages(Shell):
    def test_options_and_verbs_are_those_of_help(self):
        seen = set()
        for program in {words[0] for words in self.helps}:
            for words, rows in page_parts(program).items():
                seen.add(words)
                names = {name for tag in tags(rows) if tag.startswith("-")
                         for name in re.findall(r"(?:^|, )(--?[a-z][a-z-]*)", tag)}
                self.assertEqual(names, self.helps[words][0], words)
        self.assertEqual(seen, set(self.helps))

    def test_texts_are_those_of_help(self):
        """Defaults, kinds of values and meanings, wherever the lines break."""
        for words, text in all_help():
            shown = " ".join(plain(" ".join(page_parts(words[0])[words])).split())
            for row in re.findall(r"(?m)^  (-\S+(?: \S+)*)", text):
                name, _, value = row.partition(" ")
                self.assertIn(f"{name.replace(',', ', ')} {value}".strip(), shown, words)

    def test_exit_codes_and_examples(self):
        for program in sorted({words[0] for words in self.helps} | {"ublk-dump"}):
            text = (MANUAL / f"{program}.1").read_text()
            self.assertIn('.SH "EXIT STATUS"', text, program)
        text = plain((MANUAL / "ublkbench.1").read_text())
        self.assertIn("ublkbench gate --baseline good.json boot1.json boot2.json boot3.json", text)
        self.assertIn("130 interrupted", text.split('.SH "EXIT STATUS"')[1])

    def test_every_property_of_a_record_is_there(self):
        text = plain((MANUAL / "ublkbench-record.5").read_text())
        schema = json.loads((ROOT / "bench/record/schema/run.schema.json").read_text())

        def properties(value):
            if isinstance(value, dict):
                for name, below in value.get("properties", {}).items():
                    yield name
                    yield from properties(below)
                for key, below in value.items():
                    if key not in ("properties", "if", "then", "else"):
                        yield from properties(below)
        names = set(properties(schema))
        self.assertGreater(len(names), 150)
        tagged = {re.split(r"[.\]]", row.split(" ")[0])[-1] for row in tags(text.splitlines())}
        self.assertEqual(names - tagged, set())

    def test_fields_of_a_waiver_are_those_that_are_read(self):
        read = set(re.findall(r'\.at\("(\w+)"\)', (ROOT / "analyzers/waivers.cpp").read_text()))
        self.assertEqual({tag for tag in tags((MANUAL / "ublkbench-waivers.5").read_text().splitlines()) if tag != "field"}, read)

    def test_modes_are_explained(self):
        text = plain((MANUAL / "ublkbench-modes.7").read_text())
        for word in (*vocabulary("ublkbench")["WORDS"],):
            if word not in ("per_io", "interrupt", "per_queue", "all"):  # what no word means
                self.assertIn(word, text)
        self.assertNotRegex(text, r"(?m)\|:|^#|\*\*|`")

    def test_a_document_keeps_what_it_says(self):
        page = markdown_page.page("# T\n\nA `b-c` and\n**d**.\n\n- e\n  f\n- g\n\n| h | i | j |\n|:--|:--|:--|\n| `k` | l | \u2013 |\n\n"
                                  "```sh\nm\n\n.n 'o\n```\n## P\nq\n", "x", 7, "y", "1")
        body = page.split('.SH "DESCRIPTION"\n')[1].split('.SH "SEE ALSO"')[0]
        self.assertEqual(body, ".PP\nA \\fBb\\-c\\fR and \\fBd\\fR.\n.IP \\(bu 2\ne f\n.IP \\(bu 2\ng\n.TP\n\\fBk\\fR\ni: l\n.PP\n"
                               ".RS 4\n.nf\nm\n\n\\&.n \\(aqo\n.fi\n.RE\n.SH \"P\"\n.PP\nq\n")

    def test_roff_takes_no_text_for_a_request(self):
        self.assertEqual(roff.line(r".a 'b' \c --d"), r"\&.a \(aqb\(aq \ec \-\-d")
        for path in MANUAL.iterdir():
            for row in path.read_text().splitlines():
                self.assertFalse(row.startswith("'"), f"{path}: {row}")
                self.assertNotRegex(row, r"[^\x20-\x7e]", path)
                if row.startswith("."):
                    self.assertRegex(row, r'^\.(\\"|(TH|SH|SS|TP|PP|IP|RS|RE|nf|fi|br|nh|ad)\b)', path)

    def test_no_warning(self):
        lint = [self.tool("mandoc"), "-T", "lint", "-W", "warning"]
        for path in sorted(MANUAL.iterdir()):
            done = subprocess.run([*lint, path], capture_output=True, text=True, timeout=60)
            # None has a date: pages of one source are to be the same, whenever they are made.
            self.assertEqual([row for row in (done.stdout + done.stderr).splitlines() if "missing date" not in row], [])


def vocabulary(program):
    done = subprocess.run([BUILD / "bench/tools" / program, "--print-options"], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)["vocabulary"]


RUN = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
function=$(complete -p "$1"); function=${function#*-F }; "${function%% *}"
printf '%s\n' "${COMPREPLY[@]}"
"""


class Bash(Shell):
    def complete(self, *words, folder=None, file=None):
        """What bash offers for the last word; it takes words apart at ':' and '='."""
        file = file or COMPLETIONS / "bash" / words[0]
        done = subprocess.run(["bash", "-c", RUN, "bash", file, *words], capture_output=True, text=True, timeout=60, cwd=folder)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return [row for row in done.stdout.split("\n") if row]

    def test_options_and_verbs_are_those_of_help(self):
        for words in self.helps:
            options, verbs = self.expected(words)
            self.assertEqual(set(self.complete(*words, "-")), options, words)
            if verbs:
                self.assertEqual(set(self.complete(*words, "")), verbs, words)

    def test_a_verb_and_an_option(self):
        self.assertEqual(self.complete("ublkbench", "comp"), ["compare"])
        self.assertEqual(self.complete("ublkbench", "baseline", "acc"), ["accept"])
        self.assertEqual(self.complete("ublk-server", "add", "--shared-memory-r"), ["--shared-memory-read-only"])
        self.assertEqual(self.complete("ublkbench", "--qd", "1", "--dry"), ["--dry-run"])

    def test_words_of_a_value(self):
        self.assertEqual(self.complete("ublkbench", "compare", "--format", ""), ["text", "md", "csv", "json"])
        self.assertEqual(self.complete("ublkbench", "compare", "--format", "=", "m"), ["md"])
        self.assertEqual(self.complete("ublkbench", "compare", "--format=m"), ["--format=md"])
        self.assertEqual(self.complete("ublk-server", "add", "-r", "fail"), ["fail", "fail-io"])
        self.assertEqual(self.complete("ublk-dump", "--types", "d"), ["dwarf"])
        self.assertEqual(self.complete("ublkbench", "run", "--qd", ""), [])
        self.assertIn("p99_ns", self.complete("ublkbench", "trend", "show", "h", "--figure", ""))

    def test_modes_are_joined_by_commas(self):
        words = [word.split(":")[0] + ":" * (":" in word) for word in vocabulary("ublkbench")["WORDS"]]
        self.assertEqual(self.complete("ublkbench", "--mode", ""), words)
        self.assertEqual(self.complete("ublkbench", "--mode", "batch,"), ["batch," + word for word in words if word != "batch"])
        self.assertEqual(self.complete("ublkbench", "--mode", "batch,au"), ["batch,auto_zc"])
        self.assertEqual(self.complete("ublk-server", "add", "-m", "mixed", ":", "64k,bat"), ["64k,batch"])
        self.assertEqual(self.complete("ublk-probe", "--probe", "batch,la"), ["batch,latency"])

    def test_probes_are_those_of_ublk_probe(self):
        done = subprocess.run([BUILD / "bench/tools/ublk-probe", "--list"], capture_output=True, text=True, check=True, timeout=60)
        probes = [row.split()[0] for row in done.stdout.splitlines()]
        self.assertEqual(self.complete("ublkbench", "run", "--probe", ""), probes)
        self.assertEqual(self.complete("ublk-probe", "-p", ""), probes)

    def test_a_value_that_may_be_left_out_is_behind_a_sign(self):
        self.assertEqual(self.complete("ublkbench", "run", "--verify", "=", "o"), ["on", "off"])
        self.assertEqual(self.complete("ublkbench", "run", "--verify", "o"), [])

    def test_files_and_folders(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "run one.json").touch()
            (pathlib.Path(folder) / "runs").mkdir()
            self.assertEqual(set(self.complete("ublkbench", "compare", "ru", folder=folder)), {"run one.json", "runs"})
            self.assertEqual(self.complete("ublkbench", "run", "--out", "ru", folder=folder), ["runs"])
            self.assertEqual(set(self.complete("ublk-server", "add", "-t", "loop", ":", "run", folder=folder)), {"run one.json", "runs"})
            self.assertEqual(self.complete("ublk-server", "add", "-t", "mem", ":", "run", folder=folder), [])

    def test_devices_and_their_numbers(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("ublkb3", "ublkc3", "ublkc12"):
                (pathlib.Path(folder) / name).touch()
            files = {}
            for program in ("ublk-server", "ublk-load"):
                files[program] = pathlib.Path(folder) / program
                files[program].write_text((COMPLETIONS / "bash" / program).read_text().replace("/dev/", folder + "/"))
            for words, found in ((("ublk-server", "stop", ""), ["12", "3"]), (("ublk-server", "list", "-n", "1"), ["12"]),
                                 (("ublk-server", "del", "-n", "3,"), ["3,12"]), (("ublk-server", "add", "-n", ""), []),
                                 (("ublk-load", folder + "/ublkb"), [folder + "/ublkb3"])):
                self.assertEqual(sorted(set(self.complete(*words, file=files[words[0]]))), found, words)


class Zsh(Shell):
    def test_options_and_verbs_are_those_of_help(self):
        for program in {words[0] for words in self.helps}:
            text = (COMPLETIONS / "zsh" / f"_{program}").read_text()
            bodies = dict(re.findall(r"(?ms)^(_\w+)\(\) \{\n(.*?)^\}", text))
            for words, (_, verbs) in self.helps.items():
                if words[0] != program:
                    continue
                body = bodies.get("_" + "__".join(word.replace("-", "_") for word in words), "")
                self.assertEqual(set(re.findall(r"(?m)^    '\*(--?[a-z][a-z-]*?)(?:=?-?|\+)\[", body)), self.expected(words)[0], words)
                self.assertEqual(set(re.findall(r"(?m)^    '([a-z-]+):", body)), verbs, words)

    def test_syntax(self):
        for path in sorted((COMPLETIONS / "zsh").iterdir()):
            done = subprocess.run([self.tool("zsh"), "-n", path], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""), path)


class Fish(Shell):
    def rows(self, program):
        text = (COMPLETIONS / "fish" / f"{program}.fish").read_text()
        return re.findall(rf"(?m)^complete -c {program} -n '\S+_at ([^']*)'(.*)$", text)

    def test_options_and_verbs_are_those_of_help(self):
        for program in {words[0] for words in self.helps}:
            found: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
            for path, rest in self.rows(program):
                options, verbs = found.setdefault(tuple(path.split()), (set(), set()))
                options |= {("--" if kind == "l" else "-") + name
                            for kind, name in re.findall(r" -([ls]) (\S+)", rest.split(" -d ")[0])}
                verbs |= set(re.findall(r"^ -a ([a-z-]+) ", rest))
            for words in self.helps:
                if words[0] == program:
                    self.assertEqual(found.get(words, (set(), set())), self.expected(words), words)

    def complete(self, line):
        file = COMPLETIONS / "fish" / f"{line.split()[0]}.fish"
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run([self.tool("fish"), "--no-config", "-c", f"source {file}; complete -C '{line}'"],
                                  capture_output=True, text=True, timeout=60, cwd=home, env=os.environ | {"HOME": home})
        self.assertEqual((done.returncode, done.stderr), (0, ""), line)
        return {row.split("\t")[0] for row in done.stdout.splitlines()}

    def test_what_it_offers(self):
        self.assertEqual(self.complete("ublkbench baseline "), self.helps["ublkbench", "baseline"][1])
        self.assertEqual(self.complete("ublkbench compare --format "), {"text", "md", "csv", "json"})
        self.assertLessEqual({"batch,auto_zc", "batch,all"}, self.complete("ublkbench run --mode batch,a"))
        self.assertEqual(self.complete("ublkbench --dry"), {"--dry-run"})
        self.assertEqual(self.complete("ublk-server stop --s"), {"--safe"})


if __name__ == "__main__":
    unittest.main(verbosity=1)
