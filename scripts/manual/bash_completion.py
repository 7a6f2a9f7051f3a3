# SPDX-License-Identifier: MIT
"""Completion for bash: a function that finds verb and option, and a table of what they take."""

from __future__ import annotations

from .options import Option, Program, Values, Verb, values

ENGINE = r"""# bash completion of @PROGRAM@. Made by scripts/make_manual.py: do not edit.
# SPDX-License-Identifier: MIT

@FUNCTION@() {
    local at=$COMP_CWORD whole=${COMP_WORDS[COMP_CWORD]} path=@PROGRAM@ option='' prefix='' cut
    local options='' verbs='' words='' before_files='' kinds='' joined='' takes=''
    # bash takes words apart at ':' and '='.
    while ((at > 1)) && [[ ${COMP_WORDS[at]} == : || ${COMP_WORDS[at - 1]} == : ]]; do
        ((at--))
        whole=${COMP_WORDS[at]}$whole
    done
    [[ $COMP_WORDBREAKS == *:* ]] && cut=${whole%"${whole##*:}"}
    if [[ $whole == = ]]; then
        whole='' option=${COMP_WORDS[at - 1]}
    elif [[ ${COMP_WORDS[at - 1]} == = ]]; then
        option=${COMP_WORDS[at - 2]}
    elif [[ $whole == --*=* ]]; then
        option=${whole%%=*} prefix="$option=" whole=${whole#*=}
    elif [[ ${COMP_WORDS[at - 1]} == -* ]]; then
        option=${COMP_WORDS[at - 1]} takes=apart
    fi
    @FUNCTION@_path
    @FUNCTION@_table
    COMPREPLY=()
    @FUNCTION@_find
    [[ -z $cut ]] || COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}

@FUNCTION@_path() {
    local i
    for ((i = 1; i < at; i++)); do
        case "$path ${COMP_WORDS[i]}" in
        @PATHS@) path+=" ${COMP_WORDS[i]}" ;;
        @DEFAULT@) path+=' @DEFAULT_VERB@' ;;
        esac
    done
}

# Words, files and numbers into COMPREPLY.
@FUNCTION@_find() {
    local word head='' node
    if [[ -z $option && $whole == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$whole")
        return
    fi
    [[ -n $option || -z $verbs ]] || words=$verbs
    [[ -n $joined && $whole == *,* ]] && head=${whole%,*},
    for word in $words; do
        [[ $head$word == "$whole"* && ,$head != *,"$word",* ]] && COMPREPLY+=("$prefix$head$word")
    done
    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *: ]] || compopt -o nospace 2>/dev/null
    for word in $before_files; do
        if [[ $whole == "$word"* ]]; then
            kinds=file prefix+=$word whole=${whole#"$word"} COMPREPLY=()
        fi
    done
    if [[ $kinds == *device* ]]; then
        for node in /dev/ublkb*; do
            [[ $node == "$whole"* && $node != *'*' ]] && COMPREPLY+=("$prefix$node")
        done
    fi
    if [[ $kinds == *number* ]]; then
        for node in /dev/ublkc*; do
            word=${node##*/ublkc}
            [[ $head$word == "$whole"* && ,$head != *,"$word",* && $word != '*' ]] && COMPREPLY+=("$prefix$head$word")
        done
    fi
    case $kinds in
    *file* | *device*) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -P "$prefix" -f -- "$whole") ;;
    *folder*) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -P "$prefix" -d -- "$whole") ;;
    *) return ;;
    esac
    compopt -o filenames 2>/dev/null
}

# What there is at $path, and what $option takes: nothing is said of one that is a flag.
@FUNCTION@_table() {
    case $path in
@TABLE@    esac
}

complete -F @FUNCTION@ @PROGRAM@
"""


def _set(found: Values) -> str:
    """Assignments of what is not empty."""
    rows = {"words": " ".join(found.words), "before_files": " ".join(found.before_files),
            "kinds": " ".join(sorted(found.kinds)), "joined": "yes" if found.joined else ""}
    return " ".join(f"{name}='{value}'" for name, value in rows.items() if value)


def _option_row(option: Option, program: Program) -> str:
    names = " | ".join(option.names)
    taken = _set(values(option.type, program.vocabulary)) or ":"
    if option.may_be_alone:  # what stands apart from it is not its value
        taken = f"if [[ -n $takes ]]; then option=''; else {taken}; fi"
    return f"        {names}) {taken} ;;\n"


def _of_positionals(verb: Verb, program: Program) -> str:
    kinds = {kind for each in verb.positionals for kind in values(each.type, program.vocabulary).kinds}
    return f"kinds='{' '.join(sorted(kinds))}'" if kinds else ":"


def _table_row(verb: Verb, program: Program) -> str:
    options = list(verb.options)
    if verb is program.root and program.default_verb:
        options += next(each for each in verb.verbs if each.path[-1] == program.default_verb).options
    names = list(dict.fromkeys(name for option in options for name in option.names))
    text = f"    '{' '.join(verb.path)}')\n        options='{' '.join(names)}'\n"
    if verb.verbs:
        text += f"        verbs='{' '.join(each.path[-1] for each in verb.verbs)}'\n"
    taking = {option.names: option for option in options if option.type}.values()
    text += "        case $option in\n" + "".join(_option_row(option, program) for option in taking)
    # A flag, or no option: a positional comes.
    text += "        *) option='' ;;\n        esac\n"
    return text + f"        [[ -n $option ]] || {_of_positionals(verb, program)}\n        ;;\n"


def render(program: Program) -> str:
    paths = [" ".join(verb.path) for verb in list(program.root.all())[1:]] or ["/"]
    changes = {"PROGRAM": program.name, "FUNCTION": "_" + program.name.replace("-", "_"),
               "PATHS": " | ".join(f"'{path}'" for path in paths),
               "DEFAULT_VERB": program.default_verb,
               "DEFAULT": f"'{program.name} -'*" if program.default_verb else "/",
               "TABLE": "".join(_table_row(verb, program) for verb in program.root.all())}
    text = ENGINE
    for name, value in changes.items():
        text = text.replace(f"@{name}@", value)
    return text
