#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scripts/gate self-test, inside the guest: can this gate pass, and can it fail?

gate_self_test.py UBLKBENCH FOLDER

Measures one cell for a baseline, the same again (must pass), and the same with a delay in the server (must be called a
regression). Then damages copies of the records, one way for each other exit code.
"""

import json
import pathlib
import subprocess
import sys

MODE, DEPTH, ROUNDS = "copy", "128", 3
WORK = ("--qd", DEPTH, "--ios", "8k", "--repeat", "1", "--verify", "off", "--control", "null_blk", "--format", "csv")
# Each I/O waits in a timeout of io_uring: some thousand instructions more, in a program that has no planted ones.
SLOWER = "null+fault:delay=1us"


def measure(program, folder, name, target="null"):
    """One record a round, with seeds as boots have them."""
    paths = []
    for seed in range(1, ROUNDS + 1):
        path = folder / f"{name}{seed}.json"
        subprocess.run([program, "run", "--mode", MODE, "--target", target, *WORK, "--seed", str(seed), "--json", path],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
        paths.append(path)
    return paths


def changed(paths, folder, name, change):
    """Copies of records, edited."""
    copies = []
    for at, path in enumerate(paths):
        document = json.loads(path.read_text())
        change(document)
        copies.append(folder / f"{name}{at}.json")
        copies[-1].write_text(json.dumps(document))
    return copies


def rename_target(document):
    """The cell of the slower server under the name of the one that it stands for."""
    for cell in document["cells"]:
        cell["target"] = cell["target"].replace(SLOWER, "null")
        cell["id"] = cell["id"].replace(SLOWER, "null")
    for sample in document["samples"]:
        sample["cell"] = sample["cell"].replace(SLOWER, "null")


def call_it_committed(document):
    """A baseline of changes that are in no commit is refused; this one is thrown away."""
    document["run"]["tool"] |= {"dirty": False, "commit": "self-test"}


def other_kernel(document):
    document["env"]["key_fields"]["kernel"]["release"] = "0.0"


def without_samples(document):
    document["samples"] = []


def main(program, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    baseline = folder / "baseline.json"
    first = changed(measure(program, folder, "first"), folder, "committed", call_it_committed)
    subprocess.run([program, "baseline", "accept", baseline, *first, "--reason", "self-test"], check=True)
    again = measure(program, folder, "again")
    slower = changed(measure(program, folder, "slower", SLOWER), folder, "renamed", rename_target)
    broken = folder / "broken.json"
    broken.write_bytes(again[0].read_bytes()[:-100])
    failures = 0
    for what, code, records in (("the same again passes", 0, again),
                                ("a delay in the server is a regression", 1, slower),
                                ("a record that is cut off is bad input", 2, [broken]),
                                ("records without samples are inconclusive", 3,
                                 changed(again, folder, "empty", without_samples)),
                                ("another kernel is not comparable", 4,
                                 changed(again, folder, "kernel", other_kernel))):
        done = subprocess.run([program, "gate", "--baseline", baseline, *records], capture_output=True, text=True,
                              check=False, timeout=60)
        good = done.returncode == code
        print(f"{'ok ' if good else 'BAD'} {what}: exit {done.returncode}" + ("" if good else f", {code} expected"))
        if not good:
            failures += 1
            print(done.stdout + done.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
