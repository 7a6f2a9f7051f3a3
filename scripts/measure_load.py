#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs in a guest of `scripts/vm --icount`: instructions per I/O of load programs on null_blk.

Each program runs by itself; 150 ms after its first I/Os, three windows of 200 ms read the device's
counter of completed I/Os and the CPU time of the program's threads (2 ns an instruction). The boot
number seeds the order. Prints a line a window: depth, program, instructions of its threads, of all.
"""

import argparse
import glob
import random
import subprocess
import sys
import time
from collections.abc import Iterator

DEVICE = "/dev/nullb0"
NS_PER_INSTRUCTION = 2
WARM_UP_S, WINDOW_S, WINDOWS = 0.15, 0.2, 3


def completed_ios() -> int:
    with open("/sys/block/nullb0/stat", encoding="ascii") as file:
        fields = file.read().split()
    return int(fields[0]) + int(fields[4])


def cpu_ns(process: subprocess.Popen[str]) -> int:
    total = 0
    for path in glob.glob(f"/proc/{process.pid}/task/*/schedstat"):
        with open(path, encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


def wait_for_load(process: subprocess.Popen[str]) -> None:
    begin = completed_ios()
    while completed_ios() < begin + 500:
        if process.poll() is not None:
            _, errors = process.communicate()
            sys.exit(f"{process.args!r}: ended before it did any I/O: {errors}")
        time.sleep(0.02)
    time.sleep(WARM_UP_S)


def windows(argv: list[str]) -> Iterator[tuple[float, float]]:
    """Instructions per I/O of the program's threads, and of all."""
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_for_load(process)
        for _ in range(WINDOWS):
            ios, cpu, now = completed_ios(), cpu_ns(process), time.monotonic_ns()
            time.sleep(WINDOW_S)
            instructions = (completed_ios() - ios) * NS_PER_INSTRUCTION
            yield (cpu_ns(process) - cpu) / instructions, (time.monotonic_ns() - now) / instructions
        process.kill()


def programs(options: argparse.Namespace, depth: int) -> Iterator[tuple[str, list[str]]]:
    batch = str(max(1, depth // 4))
    ours = [options.ublk_load, DEVICE, "--qd", str(depth), "--runtime", "5s"]
    yield "ublk-load --no-latency", [*ours, "--no-latency"]
    yield "ublk-load", ours
    if options.io_uring:
        yield "t/io_uring", [options.io_uring, "-p0", "-n1", f"-d{depth}", f"-s{batch}",
                             f"-c{batch}", "-b4096", "-r5", DEVICE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ublk-load", default="build/vm-release/bench/tools/ublk-load")
    parser.add_argument("--io-uring", help="fio's t/io_uring, for comparison")
    parser.add_argument("--boot", type=int, default=1)
    options = parser.parse_args()
    subprocess.run(["modprobe", "null_blk", "nr_devices=1", "queue_mode=2", "hw_queue_depth=256",
                    "submit_queues=1", "gb=64"], check=True)
    with open("/sys/block/nullb0/queue/scheduler", "w", encoding="ascii") as scheduler:
        scheduler.write("none")
    cases = [(depth, *program) for depth in (1, 32, 128) for program in programs(options, depth)]
    random.Random(options.boot).shuffle(cases)
    for depth, name, argv in cases:
        for own, total in windows(argv):
            print(f"qd {depth:>3}  {name:<24} {own:6.0f} {total:6.0f}", flush=True)


if __name__ == "__main__":
    main()
