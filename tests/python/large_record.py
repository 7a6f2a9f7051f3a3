#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a synthetic record of any size: large_record.py CELLS ROUNDS FILE [--seed N] [--slower RATIO]

A matrix of 20 modes, 2 targets, 10 depths, 5 block sizes and 5 patterns, cut off at CELLS, with samples as long as
real ones: some 120 slots of latency, the batches of the load and of the server. For how compare and report scale
(docs/compare-and-gate.md has the figures), and for the tests of that.
"""

import argparse
import itertools
import json
import random
import sys

import records

BUFFERS = ("copy", "get_data", "user_copy", "zc", "auto_zc")
MODES = [",".join(filter(None, words)) for words in itertools.product(("", "batch"), ("", "per_io_daemon"), BUFFERS)]
TARGETS = ("null", "mem:256M")
DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
BLOCK_BYTES = (4096, 8192, 16384, 65536, 131072)
PATTERNS = ("randread", "randwrite", "read", "write", "randrw")
IOS = 20000
VARIANTS = 64


def matrix(count):
    whole = itertools.product(TARGETS, PATTERNS, BLOCK_BYTES, DEPTHS, MODES)
    return [records.cell(mode, depth, target, block_bytes=size, pattern=pattern)
            for target, pattern, size, depth, mode in itertools.islice(whole, count)]


def _histogram(rng, typical, slots):
    """As the suite writes one: 64 slots a power of two, the lowest value of each and its count."""
    counts: dict[int, int] = {}
    for _ in range(slots * 6):
        value = int(typical * rng.lognormvariate(0, 0.5))
        step = 1 << max(0, value.bit_length() - 7)
        counts[value // step * step] = counts.get(value // step * step, 0) + rng.randint(1, 2 * IOS // (slots * 6))
    pairs = sorted(counts.items())[:slots]
    total = sum(count for _, count in pairs)
    return {"sub_buckets_per_power_of_two": 64, "count": total, "min": pairs[0][0], "max": pairs[-1][0],
            "mean": typical, "sum": int(typical * total), "p50": typical, "p90": 2 * typical, "p99": 3 * typical,
            "p999": 4 * typical, "slots": pairs}


def _variant(rng):
    """All of a sample that does not tell its cell, as text: the same few again and again."""
    server = {"mean": 8.0, "size_events": [[size, rng.randint(1, 400)] for size in range(1, 33)]}
    sample = records.sample(records.cell(), 0, ns_per_io=10000 * rng.lognormvariate(0, 0.02), ios=IOS)
    sample["load"] |= {"latency_ns": _histogram(rng, 36000, 120), "submit_batch": _histogram(rng, 16, 20),
                       "complete_batch": _histogram(rng, 16, 20)}
    sample["server"] |= {"fetch_batch": server, "commit_batch": server}
    for name in ("cell", "round", "order"):
        del sample[name]
    return json.dumps(sample)[1:]


def samples(cells, rounds, rng, variants):
    """The text of each sample, in the order in which they would have been measured."""
    names = [json.dumps(cell["id"]) for cell in cells]
    order = 0
    for number in range(rounds):
        rng.shuffle(names)
        for name in names:
            yield f'{{"cell": {name}, "round": {number}, "order": {order}, {rng.choice(variants)}'
            order += 1


def write(path, count, rounds, seed=1, commit="a" * 40):
    rng = random.Random(seed)
    variants = [_variant(rng) for _ in range(VARIANTS)]
    cells = matrix(count)
    head = json.dumps(records.record(cells, icount=False, commit=commit, repeat=rounds, seed=seed, ios=IOS))
    assert head.endswith('"samples": []}')
    with open(path, "w", encoding="utf-8") as file:
        file.write(head[:-2])
        file.writelines((",\n" if number else "\n") + text
                        for number, text in enumerate(samples(cells, rounds, rng, variants)))
        file.write("]}\n")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=int)
    parser.add_argument("rounds", type=int)
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write(options.file, options.cells, options.rounds, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
