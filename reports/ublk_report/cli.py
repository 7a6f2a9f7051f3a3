# SPDX-License-Identifier: MIT
"""The command line of ublk-report."""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from ublk_report import VERSION
from ublk_report.records import BadInput, read_run

EXIT_USAGE = 2
EXIT_ENVIRONMENT = 5

EPILOG = """examples:
  ublk-report run.json                            writes run.html
  ublk-report run.json --html out.html --plots pictures
  ublk-report monday.json tuesday.json              one page of both, writes report.html
  ublk-report --compare before.json after.json --html change.html

The page needs nothing but itself: no network, no script (one sorts the tables). --plots also writes each picture as
PNG and SVG. Verdicts and intervals of --compare are those of 'ublkbench compare'; what follows -- is for it:
  ublk-report --compare 6.12=a.json 7.3=b.json -- --vary kernel

exit codes: 0 done, 2 bad input, 4 not comparable, 5 a Python module or ublkbench is missing
"""


def parser(prog: str) -> argparse.ArgumentParser:
    """Also for scripts/make_manual.py."""
    parser = argparse.ArgumentParser(
        prog=prog, description="One HTML page, and pictures, of records of 'ublkbench run'.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+", metavar="RECORD",
                        help="a record (--json FILE or --out DIR); several are shown one below the other")
    parser.add_argument("--version", action="version", version=f"{prog} {VERSION}")
    parser.add_argument("--compare", action="store_true", help="ratios and verdicts of two records or more")
    parser.add_argument("--html", metavar="FILE", help="the page (default: the record's name with .html; of several "
                        "report.html, comparison.html)")
    parser.add_argument("--plots", metavar="DIR", help="also each picture as PNG and SVG")
    parser.add_argument("--ublkbench", metavar="PROGRAM", default=os.environ.get("UBLKBENCH", "ublkbench"),
                        help="for --compare (default: $UBLKBENCH, or ublkbench in the PATH)")
    return parser


def write_atomically(path: str | pathlib.Path, data: bytes) -> None:
    """As bench/base/atomic_file.hpp: a reader finds the old file or the whole new one."""
    path = pathlib.Path(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    except OSError as error:
        raise BadInput(f"write {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except OSError as error:
        os.unlink(name)
        raise BadInput(f"write {path}: {error.strerror}") from error
    except KeyboardInterrupt:
        os.unlink(name)
        raise


def _keeper(folder: str | None) -> Callable[[str, str, bytes], None] | None:
    if not folder:
        return None
    try:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"mkdir {folder}: {error.strerror}") from error
    return lambda name, kind, data: write_atomically(pathlib.Path(folder) / f"{name}.{kind}", data)


def _default_html(records: list[str]) -> pathlib.Path:
    if len(records) > 1:
        return pathlib.Path("report.html")
    path = pathlib.Path(records[0])
    return path.with_name(path.name + ".html") if path.is_dir() else path.with_suffix(".html")


def _compare(options: argparse.Namespace, more: list[str]) -> tuple[dict[str, Any], int]:
    command = [options.ublkbench, "compare", *options.records, "--format", "json", *more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        print(f"ublk-report: {options.ublkbench}: {error.strerror}; name it with --ublkbench", file=sys.stderr)
        raise SystemExit(EXIT_ENVIRONMENT) from error
    if not done.stdout:
        sys.stderr.write(done.stderr)
        raise SystemExit(done.returncode or EXIT_ENVIRONMENT)
    return json.loads(done.stdout), done.returncode


def _without_label(word: str) -> str:
    return word if os.path.exists(word) else word.split("=", 1)[-1]


def _write(options: argparse.Namespace, more: list[str], prog: str, arguments: list[str]) -> int:
    if len(options.records) < 2 and options.compare:
        raise BadInput("--compare needs two records or more")
    if more and not options.compare:
        raise BadInput(f"{shlex.join(more)}: what follows -- is for --compare")
    command = shlex.join([prog, *arguments])
    comparison, code = _compare(options, more) if options.compare else (None, 0)
    runs = [read_run(_without_label(word)) for word in options.records]
    keep = _keeper(options.plots)
    from ublk_report import page  # here: slow to load, and its modules may be missing
    if comparison:
        html = page.render_comparison(runs, comparison, keep, command)
        target = options.html or "comparison.html"
    else:
        html = page.render_runs(runs, keep, command)
        target = options.html or _default_html(options.records)
    write_atomically(target, html.encode())
    print(target)
    return code


def main(prog: str, arguments: list[str]) -> int:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    own, more = arguments[:end], arguments[end + 1:]
    options = parser(prog).parse_args(own)
    try:
        return _write(options, more, prog, arguments)
    except BadInput as problem:
        print(f"{prog}: {problem}", file=sys.stderr)
        return EXIT_USAGE
    except ImportError as missing:
        print(f"{prog}: no Python module {missing.name}; install python3-matplotlib, python3-numpy and python3-jinja2",
              file=sys.stderr)
        return EXIT_ENVIRONMENT
