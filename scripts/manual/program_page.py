# SPDX-License-Identifier: MIT
"""A program's page, of section 1."""

from __future__ import annotations

import dataclasses
import re

from .options import Option, Program, Verb
from .roff import as_typed, bold, escaped, filled, heading, italic, tagged, title

SEE_ALSO = (("ublkbench", 1), ("ublk-server", 1), ("ublk-load", 1), ("ublk-probe", 1), ("ublk-dump", 1),
            ("ublk-report", 1), ("ublkbench-record", 5), ("ublkbench-waivers", 5), ("ublkbench-modes", 7))


@dataclasses.dataclass
class Footer:
    """What stands below the options in --help, taken apart."""
    prose: list[str]
    examples: str = ""
    exit_codes: str = ""


def taken_apart(text: str) -> Footer:
    footer = Footer([])
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        rest, _, codes = paragraph.partition("Exit codes: ")
        footer.exit_codes += codes
        rest, found, examples = re.split(r"(?m)^(Examples:?)$\n?", rest, maxsplit=1) if re.search(
            r"(?m)^Examples:?$", rest) else (rest, "", "")
        footer.examples += examples
        if found or not rest.strip():
            rest = rest.strip()
        if rest:
            footer.prose.append(rest)
    return footer


def tag_of(option: Option) -> str:
    # What stands for something else is in italics, as far as it is a word of capitals.
    value = re.sub(r"[A-Z]{2,}|\bN\b|[^A-Z]+|[A-Z]",
                   lambda found: italic(found.group()) if found.group().isupper() else escaped(found.group()),
                   option.value)
    return ", ".join(map(bold, option.names)) + value


def options_of(verb: Verb) -> str:
    text = "".join(tagged(tag_of(each), each.text) for each in verb.positionals)
    groups: dict[str, list[Option]] = {}
    for option in verb.options:
        groups.setdefault(option.group, []).append(option)
    for group, options in groups.items():
        if len(groups) > 1:
            text += f".PP\n{bold(group)}\n"
        text += "".join(tagged(tag_of(option), option.text) for option in options)
    return text


def paragraphs(prose: list[str]) -> str:
    """Prose, where lines that are indented are shown as they are."""
    text = ""
    for paragraph in prose:
        shown = [row for row in paragraph.splitlines() if row.startswith("  ")]
        said = "\n".join(row for row in paragraph.splitlines() if not row.startswith("  "))
        text += ".PP\n" + filled(said) + (as_typed("\n".join(shown)) if shown else "")
    return text


def verb_part(verb: Verb) -> str:
    return (heading("SS", " ".join(verb.path)) + ".PP\n" + bold(verb.usage) + "\n.PP\n" + filled(verb.what)
            + paragraphs(taken_apart(verb.footer).prose) + options_of(verb))


def by_verb(program: Program, what: str) -> str:
    """Exit codes or examples, of the verbs that have some."""
    text = ""
    for verb in program.root.all():
        part = getattr(taken_apart(verb.footer), what)
        if part:
            text += f".PP\n{bold(' '.join(verb.path))}\n" + (
                as_typed(part.strip("\n")) if what == "examples" else ".br\n" + filled(part))
    return text


def page(program: Program) -> str:
    root = program.root
    what = root.what.rstrip(".")
    text = title(program.name, 1, program.version)
    text += heading("SH", "NAME") + f"{escaped(program.name)} \\- {escaped(what[0].lower() + what[1:])}\n"
    text += heading("SH", "SYNOPSIS") + bold(root.usage) + "\n"
    text += heading("SH", "DESCRIPTION") + filled(root.what) + paragraphs(taken_apart(root.footer).prose)
    text += heading("SH", "OPTIONS") + options_of(root)
    if root.verbs:
        text += heading("SH", "COMMANDS") + "".join(verb_part(verb) for verb in list(root.all())[1:])
    for name, part in (("EXIT STATUS", "exit_codes"), ("EXAMPLES", "examples")):
        if found := by_verb(program, part):
            text += heading("SH", name) + found.removeprefix(".PP\n")
    return text + see_also(program.name)


def see_also(but: str) -> str:
    return heading("SH", "SEE ALSO") + ",\n".join(
        f"{bold(name)}({section})" for name, section in SEE_ALSO if name != but) + "\n"
