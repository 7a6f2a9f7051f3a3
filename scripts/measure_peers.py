#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs inside the guest of scripts/compare-peers: one boot, every cell of one plan, one JSON line per window.

For each mode all servers get a device; for each depth the load visits the devices in turn, so that servers are
compared within seconds of guest time.  A window is 200 ms after 150 ms of warm-up.  I/Os are counted by the block
layer (/sys/block/DEV/stat), CPU time by the scheduler (schedstat of every thread of the server's and the load's
processes, user and kernel).  Under QEMU's -icount CPU time is instructions: one takes 2^shift ns.
"""

import argparse
import glob
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Protocol

Modes = dict[str, list[str]]  # a mode's name here: the peer's options

START_S = 10
WARM_UP_S = 0.150
WINDOW_S = 0.200
WINDOWS = 3
DEVICE_DEPTH = 128
SHARED_BYTES = 4 << 20  # what a client and its server share with shmem_zc

# Ours takes any mode; the peers take those that they have as options of their own.
KUBLK_MODES: Modes = {
    "copy": [], "get_data": ["-g"], "user_copy": ["-u"], "zc": ["-z"], "auto_zc": ["--auto_zc"], "batch": ["-b"],
    "batch,zc": ["-b", "-z"], "batch,auto_zc": ["-b", "--auto_zc"],
    "per_io_daemon": ["--per_io_tasks", "--nthreads", "2"],
    "per_io_daemon,auto_zc": ["--per_io_tasks", "--nthreads", "2", "--auto_zc"], "shmem_zc": ["--shmem_zc"]}
UBLKSRV_MODES: Modes = {
    "copy": [], "get_data": ["-g", "1"], "user_copy": ["--usercopy"], "auto_zc": ["-z"], "batch": ["-b"],
    "batch,auto_zc": ["-b", "-z"]}


Window = dict[str, float]


class Server(Protocol):
    name: str
    modes: Modes | None  # None: all

    def add(self, device: int, mode: str, target: str) -> None: ...
    def remove(self, device: int) -> None: ...
    def owns(self, executable: str) -> bool: ...


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs a short command; a failing one ends the measurement with its output."""
    # A file, not a pipe: servers in the background inherit it, and a pipe would not end before they do.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=30,
                              env=environment)
        output.seek(0)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{output.read().decode()}")


class Ours:
    modes: Modes | None = None

    def __init__(self, program: str, name: str) -> None:
        self.name = name
        self.program = os.path.realpath(program)

    def add(self, device: int, mode: str, target: str) -> None:
        spec = f"loop:{target}" if target else "null"
        run([self.program, "add", "-n", str(device), "-m", mode, "-t", spec, "-q", "1", "-d", str(DEVICE_DEPTH),
             *(["--shared-memory", shared_file(device), "--shared-memory-size", str(SHARED_BYTES)]
               if mode == "shmem_zc" else [])])

    def remove(self, device: int) -> None:
        run([self.program, "del", "-n", str(device)])

    def owns(self, executable: str) -> bool:
        return executable == self.program


class Kublk:
    name = "kublk"
    modes: Modes | None = KUBLK_MODES

    def __init__(self, program: str) -> None:
        self.program = os.path.realpath(program)

    def add(self, device: int, mode: str, target: str) -> None:
        kind = ["-t", "loop"] if target else ["-t", "null"]
        run([self.program, "add", *kind, "-n", str(device), "-q", "1", "-d", str(DEVICE_DEPTH), *KUBLK_MODES[mode],
             *(["--htlb", shared_file(device)] if mode == "shmem_zc" else []), *([target] if target else [])])

    def remove(self, device: int) -> None:
        run([self.program, "del", "-n", str(device)])

    def owns(self, executable: str) -> bool:
        return executable == self.program


class Ublksrv:
    name = "ublksrv"
    modes: Modes | None = UBLKSRV_MODES

    def __init__(self, prefix: str) -> None:
        """`prefix`: where `make install` put it."""
        self.prefix = pathlib.Path(prefix).resolve()
        folders = (self.prefix / part for part in ("sbin", "bin"))
        self.folder = next(str(folder) for folder in folders if (folder / "ublk").exists())
        self.environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}",
                            "LD_LIBRARY_PATH": str(self.prefix / "lib")}

    def add(self, device: int, mode: str, target: str) -> None:
        kind = ["-t", "loop", "-f", target] if target else ["-t", "null"]
        run([f"{self.folder}/ublk", "add", *kind, "-n", str(device), "-q", "1", "-d", str(DEVICE_DEPTH),
             *UBLKSRV_MODES[mode]], self.environment)

    def remove(self, device: int) -> None:
        run([f"{self.folder}/ublk", "del", "-n", str(device)], self.environment)

    def owns(self, executable: str) -> bool:
        return executable.startswith(str(self.prefix))


def shared_file(device: int) -> str:
    """A file of huge pages that the device's server and client share; made at the first call."""
    folder = pathlib.Path("/run/measure_peers.huge")
    if not folder.exists():
        pathlib.Path("/proc/sys/vm/nr_hugepages").write_text("16")
        folder.mkdir()
        run(["mount", "-t", "hugetlbfs", "none", str(folder)])
    file = folder / str(device)
    if not file.exists():
        run(["fallocate", "-l", str(SHARED_BYTES), str(file)])
    return str(file)


def process_ids(owns: Callable[[str], bool]) -> list[int]:
    """Processes whose program satisfies `owns`."""
    found = []
    for link in glob.glob("/proc/[0-9]*/exe"):
        try:
            if owns(os.readlink(link)):
                found.append(int(link.split("/")[2]))
        except OSError:
            continue  # a kernel thread, or gone
    return found


class CpuTime:
    """CPU time of all threads of some processes, from files that are kept open."""

    def __init__(self, pids: list[int]) -> None:
        self.files = [os.open(path, os.O_RDONLY) for pid in pids for path in glob.glob(f"/proc/{pid}/task/*/schedstat")]

    def read(self) -> tuple[int, int]:
        """Nanoseconds on a CPU, and how often a thread was put on one."""
        fields = [os.pread(fd, 100, 0).split() for fd in self.files]
        return sum(int(field[0]) for field in fields), sum(int(field[2]) for field in fields)

    def close(self) -> None:
        for fd in self.files:
            os.close(fd)


def completed_ios(stat_fd: int) -> int:
    """Reads, writes and discards that the block layer completed."""
    fields = os.pread(stat_fd, 512, 0).split()
    return int(fields[0]) + int(fields[4]) + int(fields[11])


def load_command(options: argparse.Namespace, path: str, depth: int, shared: str | None) -> list[str]:
    batch = max(depth // 4, 1)
    if options.load == "t/io_uring":
        return [options.load_program, "-p0", "-n1", f"-d{depth}", f"-s{batch}", f"-c{batch}", f"-b{options.bs}",
                *(["-H", shared] if shared else []), path]
    if options.load == "fio":
        return ["fio", "--name=load", "--ioengine=io_uring", "--direct=1", f"--filename={path}", f"--rw={options.rw}",
                f"--bs={options.bs}", f"--iodepth={depth}", f"--iodepth_batch_submit={batch}",
                f"--iodepth_batch_complete_min={batch}", f"--iodepth_batch_complete_max={depth}", "--fixedbufs",
                "--registerfiles", "--time_based", "--runtime=60", "--thread", "--norandommap", "--randrepeat=1",
                "--gtod_reduce=1", "--size=1g", *([f"--mem=mmaphuge:{shared}"] if shared else [])]
    return [options.load_program, path, "--rw", options.rw, "--bs", str(options.bs), "--depth", str(depth), "--runtime",
            "60s", "--no-latency", "--allow-split", *([] if options.rw.endswith("read") else ["--destructive"]),
            *(["--buffer-file", shared] if shared else [])]


def measure(options: argparse.Namespace, server_ids: list[int], device: int, depth: int,
            shared: str | None) -> list[Window]:
    """The windows of one cell."""
    path = f"/dev/ublkb{device}"
    # A kernel with mq-deadline built in gives it to devices of one queue: that is not what is compared.
    pathlib.Path(f"/sys/block/ublkb{device}/queue/scheduler").write_text("none")
    stat_fd = os.open(f"/sys/block/{os.path.basename(path)}/stat", os.O_RDONLY)
    idle = completed_ios(stat_fd)
    load = subprocess.Popen(load_command(options, path, depth, shared), stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)
    give_up = time.monotonic() + START_S
    # The load's program comes from the host, which takes the guest no fixed time.
    while completed_ios(stat_fd) < idle + 1000 and time.monotonic() < give_up:
        time.sleep(0.01)
    time.sleep(WARM_UP_S)
    server = CpuTime(server_ids)
    generator = CpuTime([load.pid])

    def snapshot() -> tuple[int, ...]:
        ios, now = completed_ios(stat_fd), time.monotonic_ns()
        return ios, now, *server.read(), *generator.read()

    windows = []
    before = snapshot()
    for _ in range(WINDOWS):
        time.sleep(WINDOW_S)
        after = snapshot()
        windows.append(per_io(before, after, options.shift))
        before = after
    load.send_signal(signal.SIGINT)
    try:
        _, errors = load.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        load.kill()
        sys.exit(f"the load on {path} does not end")
    os.close(stat_fd)
    server.close()
    generator.close()
    if min(window["ios"] for window in windows) == 0:
        print(f"no I/O on {path} at depth {depth}: {[w['ios'] for w in windows]} {errors.decode()}", file=sys.stderr)
        return []
    return windows


def per_io(before: tuple[int, ...], after: tuple[int, ...], shift: int) -> Window:
    ios, elapsed_ns, server_ns, server_turns, load_ns, load_turns = (b - a for a, b in zip(before, after))
    count = max(ios, 1) << shift
    # One CPU that is never idle: all that ran in the window is the window's length.
    return {"ios": ios, "iops": ios * 1e9 / elapsed_ns, "server_ins": server_ns / count, "load_ins": load_ns / count,
            "total_ins": elapsed_ns / count, "server_turns": server_turns / max(ios, 1),
            "load_turns": load_turns / max(ios, 1)}


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", action="append", default=[], metavar="[NAME=]PROGRAM")
    parser.add_argument("--kublk", metavar="PROGRAM")
    parser.add_argument("--ublksrv", metavar="PREFIX")
    parser.add_argument("--mode", action="append", required=True)
    parser.add_argument("--qd", required=True, help="comma-separated")
    parser.add_argument("--bs", type=int, default=4096)
    parser.add_argument("--rw", default="randread")
    parser.add_argument("--target", default="", help="backing device for the loop target; none: the null target")
    parser.add_argument("--load", choices=["ublk-load", "t/io_uring", "fio"], required=True)
    parser.add_argument("--load-program")
    parser.add_argument("--boot", type=int, default=0, help="number of the repetition; seeds the order of servers")
    options = parser.parse_args(argv)
    options.shift = int(os.environ.get("UBLKBENCH_ICOUNT_SHIFT", "1"))
    return options


def main(argv: list[str]) -> int:
    options = parse_arguments(argv)
    servers: list[Server] = []
    for spec in options.ours:
        name, _, program = spec.rpartition("=")
        servers.append(Ours(program, name or "ublkbench"))
    if options.kublk:
        servers.append(Kublk(options.kublk))
    if options.ublksrv:
        servers.append(Ublksrv(options.ublksrv))
    if options.target.startswith("/dev/nullb"):
        run(["modprobe", "null_blk", "nr_devices=1", "queue_mode=2", "hw_queue_depth=256", "submit_queues=1", "gb=64"])
    order = random.Random(options.boot)
    for mode in options.mode:
        modes_cells(options, servers, order, mode)
    return 0


def modes_cells(options: argparse.Namespace, servers: list[Server], order: random.Random, mode: str) -> None:
    """All depths of one mode; each server's device exists only while this mode is measured."""
    servers = [server for server in servers if server.modes is None or mode in server.modes]
    owned: dict[int, list[int]] = {}
    for device, server in enumerate(servers):
        if options.target:
            continue  # one backing device cannot be held by several servers
        start(server, device, mode, "", owned)
    for depth in (int(text) for text in options.qd.split(",")):
        turn = list(enumerate(servers))
        order.shuffle(turn)
        for device, server in turn:
            if options.target:
                start(server, device, mode, options.target, owned)
            shared = shared_file(device) if mode == "shmem_zc" else None
            for window in measure(options, owned[device], device, depth, shared):
                cell = {"boot": options.boot, "server": server.name, "mode": mode, "qd": depth}
                print(json.dumps(cell | window), flush=True)
            if options.target:
                server.remove(device)
    if not options.target:
        for device, server in enumerate(servers):
            server.remove(device)


def start(server: Server, device: int, mode: str, target: str, owned: dict[int, list[int]]) -> None:
    """Adds a device; notes which processes came with it."""
    before = set(process_ids(server.owns))
    server.add(device, mode, target)
    owned[device] = sorted(set(process_ids(server.owns)) - before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
