#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""'ublkbench run' as the hardware gate's tests need it: records of a machine and a build that a file describes.

fake_ublkbench.py DESCRIPTION run WORDS...
DESCRIPTION is JSON: "factor" (how many times as long an I/O takes; a number, or numbers for one call after the
other), "control_factor", "noise", "log" (a file that gets a line a call) and what goes into the record.
"""

import json
import pathlib
import random
import sys
import zlib

import records

DEPTH_NS = {1: 20000.0, 32: 4000.0, 128: 3000.0}


def words_of(arguments):
    """Each option with all of its values."""
    words: dict[str, list[str]] = {}
    for name, value in zip(arguments[::2], arguments[1::2]):
        words.setdefault(name.lstrip("-"), []).append(value)
    return words


def factor_of(factor, cell, calls):
    if isinstance(factor, dict):
        factor = factor.get(cell["mode"], 1.0)
    if isinstance(factor, list):
        factor = factor[min(calls, len(factor) - 1)]
    return factor


def main(description, verb, *arguments):
    told = json.loads(pathlib.Path(description).read_text())
    words = words_of(arguments)
    log = pathlib.Path(told["log"])
    calls = log.read_text().count(f"{told['name']} ") if log.exists() else 0
    if told.get("exit") is not None:
        print(told["says"], file=sys.stderr)
        return told["exit"]
    seed = words["seed"][0]
    depths = [int(depth) for depth in words.get("qd", ["128"])[0].split(",")]
    cells = [records.cell(mode, depth, words.get("target", ["null"])[0])
             for mode in words.get("mode", ["copy"]) for depth in depths]
    controls = [] if words["control"] == ["none"] or told.get("no_control") else [
        records.cell(depth=depth, target="null_blk", kind="control") for depth in depths]
    ios = int(words.get("ios", [0])[0])
    with log.open("a") as file:
        file.write(f"{told['name']} {ios} {seed} {' '.join(cell['id'] for cell in cells)}\n")
    samples = []
    for cell in (*cells, *controls):
        rng = random.Random(zlib.crc32(f"{told['name']} {seed} {cell['id']} {calls}".encode()))
        noise = rng.uniform(1 - told["noise"], 1 + told["noise"])
        control = cell["kind"] == "control"
        factor = told["control_factor"] if control else factor_of(told["factor"], cell, calls)
        ns = DEPTH_NS[cell["depth"]] * (0.3 if control else 1.0) * factor * noise
        samples.append(records.sample(cell, 0, ns_per_io=ns, ios=ios or 10**6))
        if not control and told.get("fails_at") == calls:
            samples[-1] |= {"status": "failed", "reason": "I/O error"}
    fields = json.loads(json.dumps(records.KEY_FIELDS))
    fields["machine"] = {"accelerator": told["accelerator"]}
    fields["cpu"]["online"] = "0-7"
    fields["kernel"]["release"] = told["kernel"]
    document = records.record([*cells, *controls], samples, icount=told["icount"], key_fields=fields,
                              seed=int(seed), ios=ios, runtime_ns=0 if ios else 10**9, commit=told["commit"])
    document["env"]["noted"] = {"load_average": told["load_average"], "captured_unix_s": 1000 + calls,
                                "stolen_ticks": 5 + told["stolen_a_call"] * calls}
    records.write(words["json"][0], document)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
