# SPDX-License-Identifier: MIT
"""What a program's command line is: from --print-options of a C++ program, from the parser of a Python one."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import typing


@dataclasses.dataclass(frozen=True)
class Option:
    """As help has it."""
    names: tuple[str, ...]  # "-m", "--mode"; of what is no option its name
    value: str              # behind the names: " WORDS [copy]"
    text: str
    group: str
    type: str               # "WORDS"; empty: a flag
    may_be_alone: bool      # a value only behind '='


@dataclasses.dataclass(frozen=True)
class Verb:
    """A verb, or the program itself."""
    path: tuple[str, ...]  # "ublkbench", "baseline", "accept"
    what: str
    usage: str
    footer: str
    positionals: tuple[Option, ...]
    options: tuple[Option, ...]
    verbs: tuple[Verb, ...]

    def all(self) -> typing.Iterator[Verb]:
        yield self
        for verb in self.verbs:
            yield from verb.all()


@dataclasses.dataclass(frozen=True)
class Program:
    root: Verb
    version: str
    vocabulary: dict[str, list[str]]
    default_verb: str = ""

    @property
    def name(self) -> str:
        return self.root.path[0]


def _option(described: dict[str, typing.Any]) -> Option:
    return Option(tuple(described["name"].split(",")), described["value"], described["help"], described["group"],
                  described["type"], described["may_be_alone"])


def _verb(described: dict[str, typing.Any], above: tuple[str, ...] = ()) -> Verb:
    path = (*above, described["name"])
    return Verb(path, described["what"], described["usage"].strip().removeprefix("Usage: "), described["footer"],
                tuple(map(_option, described["positionals"])), tuple(map(_option, described["options"])),
                tuple(_verb(below, path) for below in described["verbs"]))


def of_program(path: str) -> Program:
    done = subprocess.run([path, "--print-options"], capture_output=True, text=True, check=True)
    described = json.loads(done.stdout)
    return Program(_verb(described), described["version"].split()[0], described["vocabulary"],
                   described["default_verb"])


def _of_action(action: argparse.Action, group: str, text: str) -> Option:
    choices = "|".join(map(str, action.choices or ()))
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    value_type = "" if action.nargs == 0 else metavar or choices or action.dest.upper()
    names = tuple(action.option_strings) or (action.dest,)
    many = " ..." if not action.option_strings and action.nargs in ("+", "*") else ""
    return Option(names, (" " + value_type if value_type else "") + many, text, group, value_type, False)


def of_parser(parser: argparse.ArgumentParser, version: str) -> Program:
    """argparse has no public way to its options; the test holds what is found here against --help."""
    formatter = parser._get_formatter()
    positionals: list[Option] = []
    options: list[Option] = []
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.help != argparse.SUPPRESS:
                text = formatter._expand_help(action) if action.help else ""
                into = options if action.option_strings else positionals
                into.append(_of_action(action, (group.title or "options").capitalize(), text))
    usage = re.sub(r"\s+", " ", parser.format_usage()).strip().removeprefix("usage: ")
    epilog = re.sub(r"(?m)^(examples|exit codes):", lambda found: found.group().capitalize(), parser.epilog or "")
    return Program(Verb((parser.prog,), parser.description or "", usage, epilog, tuple(positionals), tuple(options),
                        ()), version, {})


@dataclasses.dataclass(frozen=True)
class Values:
    """What an option may be given, as far as a shell can say it."""
    words: tuple[str, ...] = ()         # "copy"; "mem:" goes on behind the colon
    before_files: tuple[str, ...] = ()  # those of them behind which a path stands
    kinds: frozenset[str] = frozenset()  # of file, folder, device, number
    joined: bool = False                # several, by commas


KINDS = {"FILE": "file", "RECORD": "file", "PROGRAM": "file", "DIR": "folder", "PATH": "device", "ID": "number"}


def _word(form: str) -> str:
    """Of "null[:SIZE]" and "mem:SIZE" what is typed first."""
    word, colon, _ = form.partition("[")[0].partition(":")
    return word + colon


def values(value_type: str, vocabulary: dict[str, list[str]]) -> Values:
    """By the name of the value: words are small, a vocabulary's or a kind's name is large."""
    pieces = value_type.removesuffix(",...").split("|")
    forms = [form for piece in pieces for form in vocabulary.get(piece, [] if re.search("[A-Z]", piece) else [piece])
             if form]
    return Values(tuple(map(_word, forms)), tuple(_word(form) for form in forms if ":PATH" in form),
                  frozenset(KINDS[piece] for piece in pieces if piece in KINDS),
                  value_type.endswith(",...") or value_type == "WORDS")
