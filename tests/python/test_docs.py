#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""README and docs: links lead somewhere, and commands have only options that their programs have."""

import itertools
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

from records import BUILD

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!`)\[[^]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```")
OPTION = re.compile(r"^(--[a-z][a-z0-9-]*|-[a-zA-Z])(=.*)?$")
# Programs whose words are those of another one, after a verb of their own.
RUNS = {"scripts/vm": {"bench": "ublkbench"}}


def anchors(text):
    """Of the headings, as the usual renderers make them."""
    heads = re.findall(r"(?m)^#+ +(.*?)\s*$", FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", head).lower()).replace(" ", "-") for head in heads}


def dead_links(page):
    text = page.read_text()
    dead = []
    for link in LINK.findall(FENCE.sub("", text)):
        path, _, anchor = link.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            dead.append(link)
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            dead.append(link)
    return dead


def commands(text):
    """Lines of code blocks, and code within sentences, as words; continued lines joined, comments left out."""
    lines = re.findall(r"`([^`]+)`", FENCE.sub("", text))
    for kind, block in FENCE.findall(text):
        if kind in ("", "sh"):
            lines += re.sub(r"\\\n\s*", " ", block).splitlines()
    for line in lines:
        words = re.split(r"\s#\s", line.strip().removeprefix("$ ").removeprefix("# "))[0]
        for part in re.split(r"&&|\|\||\||;", words):
            try:
                yield shlex.split(part.replace("…", " ").replace("...", " "))
            except ValueError:
                continue  # an apostrophe: prose, or what a program printed


class Help:
    """Options of programs and verbs; None for what is no program of ours."""

    def __init__(self):
        self.texts = {}

    def text(self, *words):
        if words not in self.texts:
            program = {"scripts/vm": ROOT / "scripts/vm", "scripts/gate": ROOT / "scripts/gate",
                       "scripts/compare-peers": ROOT / "scripts/compare-peers"}.get(words[0], BUILD / "bench/tools" / words[0])
            done = subprocess.run([str(program), *words[1:], "--help"], capture_output=True, text=True, timeout=60,
                                  stdin=subprocess.DEVNULL)
            self.texts[words] = done.stdout if done.returncode == 0 else ""
        return self.texts[words]

    def has(self, option, *words):
        return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", self.text(*words)) is not None


OURS = ("ublkbench", "ublk-server", "ublk-load", "ublk-probe", "ublk-dump", "ublk-report", "scripts/vm", "scripts/gate",
        "scripts/compare-peers")


def unknown_options(text, known):
    """"PROGRAM [VERB]: OPTION" of each that does not exist."""
    found = []
    for line in commands(text):
        words = list(itertools.dropwhile(lambda word: "=" in word or word in ("sudo", "time", "exec"), line))
        name = words[0] if words and words[0].startswith("scripts/") else pathlib.Path(words[0]).name if words else ""
        if name in OURS:
            found += check(name, words[1:], known)
    return found


def verbs_of(program, words, known):
    """The verbs in front of a program's words."""
    verbs: list[str] = []
    while len(verbs) < len(words) and re.search(rf"(?m)^  {re.escape(words[len(verbs)])}\b",
                                                known.text(program, *verbs).partition("Subcommands:\n")[2]):
        verbs.append(words[len(verbs)])
    return verbs or (["run"] if program == "ublkbench" else [])


def check(program, words, known):
    """`words` of one program; with verbs in front they are the verbs'."""
    verbs = verbs_of(program, words, known)
    unknown: list[str] = []
    for number, word in enumerate(words):
        if word == "--" and (program.startswith("scripts/") or verbs == ["report"]):
            break  # what follows is another program's
        if word in RUNS.get(program, {}):
            return unknown + check(RUNS[program][word], words[number + 1:], known)
        match = OPTION.match(word)
        if match and match[1] != "--help" and not known.has(match[1], program, *verbs):
            unknown.append(f"{' '.join((program, *verbs))}: {match[1]}")
    return unknown


class Docs(unittest.TestCase):
    def test_links(self):
        self.assertEqual({str(page.relative_to(ROOT)): dead for page in PAGES if (dead := dead_links(page))}, {})

    def test_every_guide_is_in_the_index(self):
        index = (ROOT / "docs/README.md").read_text()
        pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
        self.assertEqual({page for page in pages if f"]({page}" not in index and f"/{page}" not in index},
                         {"ublk-dump-lab.md"}, "all but what a guide links")

    def test_options(self):
        known = Help()
        self.assertEqual({str(page.relative_to(ROOT)): unknown for page in PAGES
                          if (unknown := unknown_options(page.read_text(), known))}, {})
        self.assertGreater(len(known.texts), 12, "programs and verbs that were looked up")


class Planted(unittest.TestCase):
    """What the checks are for is found."""

    def test_dead_links(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "a.md"
            page.write_text("# The `first` one\n[a](b.md) [b](#the-first-one) [c](#nowhere) [d](https://example.invalid/x) `[e](f)`\n")
            self.assertEqual(dead_links(page), ["b.md", "#nowhere"])

    def test_unknown_options(self):
        known = Help()
        text = """```sh
$ sudo ublkbench --mode copy --moed batch   # --not-this
ublkbench compare a.json b.json --fromat md && ublk-server add -t null --queus 2
scripts/vm --icunt bench --mode copy --qds 1
X=1 build/release/bench/tools/ublk-load /dev/ublkb0 --json - --deepth 3
```
--prose is none, `ublk-probe --al` is one"""
        self.assertEqual(unknown_options(text, known), [
            "ublk-probe: --al", "ublkbench run: --moed", "ublkbench compare: --fromat", "ublk-server add: --queus", "scripts/vm: --icunt",
            "ublkbench run: --qds", "ublk-load: --deepth"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
