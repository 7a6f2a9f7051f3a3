# SPDX-License-Identifier: MIT
"""Where the tests of ublk-dump find the package, its schema and the recordings."""

import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DUMP = ROOT / "drgn/ublk-dump"
SCHEMA = ROOT / "drgn/ublk_drgn/schema/dump.schema.json"
RECORDINGS = ROOT / "tests/data/dump"
SKIPPED = 77

sys.path.insert(0, str(ROOT / "drgn"))


def need(*modules):
    """Ends the test as skipped, and says so, where a module is not installed."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            print(f"skipped: no Python module {name}")
            sys.exit(SKIPPED)
