#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Man pages and completions, of what --help and the documents say.

make_manual.py pages FOLDER VERSION     the pages of files and modes, into FOLDER/manual
make_manual.py program FOLDER PROGRAM   the page of a program, and its completions, into FOLDER/completions/SHELL
make_manual.py python FOLDER            the same of ublk-dump and ublk-report, which need not run for it
"""

from __future__ import annotations

import json
import pathlib
import sys

from manual import (
    bash_completion,
    fish_completion,
    markdown_page,
    options,
    program_page,
    record_page,
    roff,
    zsh_completion,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent


def write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_page(path: pathlib.Path, text: str) -> None:
    write(path, roff.finished(text))


def write_program(folder: pathlib.Path, program: options.Program) -> None:
    name = program.name
    write_page(folder / f"manual/{name}.1", program_page.page(program))
    write(folder / f"completions/bash/{name}", bash_completion.render(program))
    write(folder / f"completions/zsh/_{name}", zsh_completion.render(program))
    write(folder / f"completions/fish/{name}.fish", fish_completion.render(program))


def python_programs(version: str) -> list[options.Program]:
    sys.path += [str(ROOT / "drgn"), str(ROOT / "reports")]
    from ublk_drgn import cli as dump
    from ublk_report import cli as report
    return [options.of_parser(dump.parser(), version), options.of_parser(report.parser("ublk-report"), version)]


def write_pages(folder: pathlib.Path, version: str) -> None:
    schema = json.loads((ROOT / "bench/record/schema/run.schema.json").read_text(encoding="utf-8"))
    write_page(folder / "manual/ublkbench-record.5", record_page.page(schema, version))
    for name, section, what in (("modes", 7, "how requests reach a ublk server, and where their data is"),
                                ("waivers", 5, "regressions that a gate of ublkbench lets pass")):
        text = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
        write_page(folder / f"manual/ublkbench-{name}.{section}",
                   markdown_page.page(text, f"ublkbench-{name}", section, what, version))


def main(what: str, folder: str, *rest: str) -> int:
    if what == "pages":
        write_pages(pathlib.Path(folder), *rest)
    elif what == "program":
        write_program(pathlib.Path(folder), options.of_program(*rest))
    elif what == "python":
        for program in python_programs(*rest):
            write_program(pathlib.Path(folder), program)
    else:
        print(f"make_manual.py: no '{what}'", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
