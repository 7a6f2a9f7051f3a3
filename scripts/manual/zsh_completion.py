# SPDX-License-Identifier: MIT
"""Completion for zsh: a function a verb, each a call of _arguments."""

from __future__ import annotations

import re

from .options import Option, Program, Values, Verb, values


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"


def _action(found: Values) -> str:
    """What _arguments or _alternative do for a value."""
    words = [re.sub(r"([:\[\]])", r"\\\1", word) for word in found.words]
    if found.before_files:
        return "_target"  # of the program, see render()
    if found.joined and words:
        return "_sequence compadd - " + " ".join(found.words)
    if "number" in found.kinds:
        return "(" + " ".join([*words, "${(@)${(f)$(print -l /dev/ublkc*(N))}#/dev/ublkc}"]) + ")"
    if words and not found.kinds:
        return "(" + " ".join(words) + ")"
    files = {"folder": "_files -/", "file": "_files", "device": "_files"}
    action = next((action for kind, action in files.items() if kind in found.kinds), " ")
    return f"{{compadd - {' '.join(words)}; {action}}}" if words else action


def _specs(option: Option, program: Program) -> list[str]:
    text = re.sub(r"([\[\]:\\])", r"\\\1", " ".join(option.text.split()))
    if not option.type:
        return [_quoted(f"*{name}[{text}]") for name in option.names]
    action = _action(values(option.type, program.vocabulary))
    value_type = option.type.replace(":", r"\:")
    # A value in the same word only, or in the next one too.
    colon = "::" if option.may_be_alone else ":"
    ends = {True: "=-" if option.may_be_alone else "=", False: "+"}
    return [_quoted(f"*{name}{ends[name.startswith('--')]}[{text}]{colon}{value_type}:{action}")
            for name in option.names]


def _function(verb: Verb) -> str:
    return "_" + "__".join(word.replace("-", "_") for word in verb.path)


def _arguments(verb: Verb, program: Program) -> list[str]:
    options = {name: option for option in verb.options for name in option.names}
    if verb is program.root and program.default_verb:
        default = next(each for each in verb.verbs if each.path[-1] == program.default_verb)
        options = {name: option for option in default.options for name in option.names} | options
    specs = [spec for option in dict.fromkeys(options.values()) for spec in _specs(option, program)]
    actions = {_action(values(each.type, program.vocabulary)): each.names[0] for each in verb.positionals}
    return specs + [_quoted(f"*:{name}:{action}") for action, name in list(actions.items())[-1:]]


def _verb_function(verb: Verb, program: Program) -> str:
    specs = _arguments(verb, program)
    if not verb.verbs:
        return f"{_function(verb)}() {{\n  _arguments -s : \\\n    " + " \\\n    ".join(specs) + "\n}\n\n"
    names = "".join("    " + _quoted(each.path[-1] + ":" + each.what.splitlines()[0]) + "\n" for each in verb.verbs)
    cases = "".join(f"        {each.path[-1]}) {_function(each)} ;;\n" for each in verb.verbs)
    default = ""
    if verb is program.root and program.default_verb:
        default = (f"  if (( CURRENT > 2 )) && [[ $words[2] == -* ]]; then\n    {_function(verb)}__"
                   f"{program.default_verb}\n    return\n  fi\n")
    return (f"{_function(verb)}() {{\n  local curcontext=$curcontext state line\n  local -a verbs=(\n{names}  )\n"
            f"{default}  _arguments -C : \\\n    " + " \\\n    ".join([*specs, "'1: :->verb'", "'*:: :->rest'"])
            + f"\n  case $state in\n    verb) _describe verb verbs ;;\n    rest)\n      case $line[1] in\n{cases}"
            "      esac\n      ;;\n  esac\n}\n\n")


TARGET = """# What is behind a target's colon is a file, or for a person to know.
_target() {
  local -a words=(@WORDS@)
  if compset -P '(@FILES@)'; then
    _files
  else
    compadd -S '' -- ${(M)words:#*:}
    compadd -- ${words:#*:}
  fi
}

"""


def render(program: Program) -> str:
    text = (f"#compdef {program.name}\n# SPDX-License-Identifier: MIT\n"
            "# Made by scripts/make_manual.py: do not edit.\n\n")
    target = values("TARGET", program.vocabulary)
    if target.words:
        own = f"_{program.name.replace('-', '_')}_target"
        text += TARGET.replace("_target", own).replace("@WORDS@", " ".join(target.words)).replace(
            "@FILES@", "|".join(target.before_files))
        text += "".join(_verb_function(verb, program) for verb in program.root.all()).replace(":_target'", f":{own}'")
    else:
        text += "".join(_verb_function(verb, program) for verb in program.root.all())
    return text + f'{_function(program.root)} "$@"\n'
