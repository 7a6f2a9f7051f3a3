# SPDX-License-Identifier: MIT
"""Runs one of the linters over all files of the repository that are its business.

lint.py ruff|mypy|shellcheck [OPTION...]       options are the linter's, and so is the exit code
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from tidy_test import tracked_files  # noqa: E402

SKIPPED = 77
PYTHON = (".py", re.compile(rb"#!.*\bpython3\b"))
SHELL = (".sh", re.compile(rb"#!.*\b(ba)?sh\b"))
LINTERS = {"ruff": (PYTHON, ["check", "--no-cache"]),
           "mypy": (PYTHON, ["--cache-dir", str(ROOT / "build/mypy")]),
           "shellcheck": (SHELL, [])}


def is_of(name: str, suffix: str, interpreter: re.Pattern[bytes]) -> bool:
    if pathlib.PurePath(name).suffix:
        return name.endswith(suffix)
    with (ROOT / name).open("rb") as file:
        return interpreter.match(file.readline(200)) is not None


def main(linter: str, *options: str) -> int:
    language, words = LINTERS[linter]
    program = shutil.which(linter)
    if program is None:
        # scripts/vm's root is to have them all; a machine of somebody's own need not.
        print(f"{linter} is not installed")
        return 1 if os.environ.get("UBLKBENCH_ROOT") == "1" else SKIPPED
    files = [name for name in tracked_files(ROOT) if is_of(name, *language)]
    return subprocess.run([program, *words, *options, *files], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
