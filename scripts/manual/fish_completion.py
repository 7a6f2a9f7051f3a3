# SPDX-License-Identifier: MIT
"""Completion for fish: a line for each verb and each option of each verb."""

from __future__ import annotations

from .options import Option, Program, Verb, values

# A pattern that nothing matches is an error in fish, but not here.
NUMBERS = "(for node in /dev/ublkc*; string replace /dev/ublkc '' $node; end)"

HEAD = """# fish completion of @PROGRAM@. Made by scripts/make_manual.py: do not edit.
# SPDX-License-Identifier: MIT

# Whether the verbs so far are these; options without a verb are the default verb's.
function @FUNCTION@_at
    set -l path @PROGRAM@
    set -l words (commandline -opc)
    for word in $words[2..-1]
        switch "$path $word"
            case @PATHS@
                set path "$path $word"
            case @DEFAULT@
                set path "$path @DEFAULT_VERB@"
        end
    end
    test "$path" = "$argv"
end

complete -c @PROGRAM@ -f
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _value(option: Option, program: Program) -> str:
    """How the value is asked for: -r if it must be, -F where it is a file, -f where not."""
    if not option.type:
        return ""
    found = values(option.type, program.vocabulary)
    words = " ".join(found.words)
    text = "" if option.may_be_alone else " -r"
    text += " -F" if found.before_files or found.kinds & {"file", "folder", "device"} else " -f"
    if found.joined and words:
        return text + " -a " + _quoted(f"(__fish_complete_list , 'string split \" \" \"{words}\"')")
    if "number" in found.kinds:
        words += " " + NUMBERS
    return text + (" -a " + _quoted(words.strip()) if words else "")


def _rows(verb: Verb, program: Program) -> str:
    function = "__" + program.name.replace("-", "_")
    begin = f"complete -c {program.name} -n " + _quoted(f"{function}_at {' '.join(verb.path)}")
    options = list(verb.options)
    if verb is program.root and program.default_verb:
        default = next(each for each in verb.verbs if each.path[-1] == program.default_verb)
        known = {name for option in options for name in option.names}
        options += [option for option in default.options if known.isdisjoint(option.names)]
    text = "".join(f"{begin} -a {below.path[-1]} -d {_quoted(below.what.splitlines()[0])}\n" for below in verb.verbs)
    for option in options:
        names = "".join(f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names)
        text += f"{begin}{names}{_value(option, program)} -d {_quoted(' '.join(option.text.split()))}\n"
    kinds = {kind for each in verb.positionals for kind in values(each.type, program.vocabulary).kinds}
    if "number" in kinds:
        text += begin + " -a " + _quoted(NUMBERS) + "\n"
    return text + (f"{begin} -F\n" if kinds & {"file", "device"} else "")


def render(program: Program) -> str:
    paths = [" ".join(verb.path) for verb in list(program.root.all())[1:]] or ["/"]
    changes = {"PROGRAM": program.name, "FUNCTION": "__" + program.name.replace("-", "_"),
               "PATHS": " ".join(map(_quoted, paths)), "DEFAULT_VERB": program.default_verb,
               "DEFAULT": _quoted(f"{program.name} -*" if program.default_verb else "/")}
    text = HEAD
    for name, value in changes.items():
        text = text.replace(f"@{name}@", value)
    return text + "".join(_rows(verb, program) for verb in program.root.all())
