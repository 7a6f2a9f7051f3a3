#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Brings docs/kernel-selftests.md up to date with the results of the last runs.

usage: table.py, after 'scripts/vm test --label kernel-selftests' or a group of it. A script that was not run since
keeps its row.
"""

import json
import re
import sys

import run

DOCUMENT = run.HERE.parents[1] / "docs/kernel-selftests.md"

HEAD = """\
# The kernel's ublk selftests with ublk-server

`scripts/vm test --label kernel-selftests` runs the scripts of tools/testing/selftests/ublk with
`tests/kernel_selftests/kublk` in kublk's place: it translates the command line to `ublk-server`'s and prints what the
scripts parse. The scripts come from Debian's linux-source package and are not part of this repository. Each group has a
guest of its own. A fast subset (`kernel-selftests.fast`) is part of `scripts/vm test`. A script whose run makes the
kernel complain (WARNING, BUG, hung task) fails, whatever it says itself.

What the adapter does beside translating: queues are at most the CPUs (the driver gives no more, and ublk-server refuses
what it would not get), devices are added with `--keep`, kublk's fault_inject target is `null+fault:delay=`, and a file
for metadata is emptied first, as kublk forgets what it held. `--no_ublk_fixed_fd` is ignored: it changes how kublk names
the device in its SQEs. `set_params` is a program of its own, because ublk-server sends no parameters that the driver
would refuse.

Some scripts have time limits of their own: on a host that was busy with another guest, batch_04 (5 s for fio) and
generic_06 (5 s for an error to arrive) failed by them, and passed when they were repeated alone.

This file is made by `tests/kernel_selftests/table.py` from real runs.

| script | outcome | seconds | kernel | remark |
|---|---|---|---|---|
"""


def earlier_rows():
    rows = re.findall(r"^\| [a-z]+_\d+ \|.*$", DOCUMENT.read_text(), re.MULTILINE)
    return {line.split()[1]: line for line in rows}


def row(name, earlier):
    path = run.RESULTS / f"{name}.json"
    if not path.exists():
        return earlier.get(name) or f"| {name} | not run | | | {run.KNOWN.get(name, '')} |"
    result = json.loads(path.read_text())
    remark = run.KNOWN.get(name, "") if result["outcome"] != "pass" else ""
    if result["output"].startswith("not done in"):
        remark = result["output"]
    return f"| {name} | {result['outcome']} | {result['seconds']:.0f} | {result['kernel']} | {remark} |"


def main():
    names = sorted(path.stem.removeprefix("test_") for path in run.SOURCE.glob("test_*_*.sh"))
    if not names:
        sys.exit(f"no scripts in {run.SOURCE}: 'scripts/vm test' fetches them")
    earlier = earlier_rows()
    rows = [row(name, earlier) for name in names]
    passed = sum("| pass |" in line for line in rows)
    DOCUMENT.write_text(HEAD + "\n".join(rows) + f"\n\n{passed} of {len(rows)} pass.\n")


if __name__ == "__main__":
    main()
