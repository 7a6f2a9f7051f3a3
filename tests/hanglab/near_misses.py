# SPDX-License-Identifier: MIT
"""Situations that look like a hang and are none: the dump must not cry."""

import subprocess

from lab import Expectation, case, wait_until


@case("idle device", servers=("bad", "ours", "kublk"))
def idle(lab):
    _pid, device = lab.any_server()
    return Expectation(device, None)


@case("idle batch device", servers=("bad", "ours", "kublk"))
def idle_batch(lab):
    _pid, device = lab.any_server(bad=("--flags", "batch"), ours=("-t", "null", "-m", "batch"),
                                  kublk=("-t", "null", "-b"))
    return Expectation(device, None)


@case("idle zero-copy device", servers=("ours", "kublk"))
def idle_zero_copy(lab):
    _pid, device = lab.any_server(ours=("-t", "null", "-m", "auto_zc"), kublk=("-t", "null", "--auto_zc"))
    return Expectation(device, None)


@case("busy device under full load", servers=("bad", "ours", "kublk"), alone=True)
def busy(lab):
    _pid, device = lab.any_server()
    load(lab, device, 32)
    return Expectation(device, None)


@case("slow target: every I/O takes three seconds, longer than the age of a hang", servers=("bad", "ours", "kublk"))
def slow(lab):
    _pid, device = slow_device(lab, 3000)
    load(lab, device, 2)
    return Expectation(device, None)


@case("tags starved: more clients than tags, a slow target", servers=("bad", "ours", "kublk"))
def starved(lab):
    _pid, device = slow_device(lab, 500, 2)
    load(lab, device, 8)
    return Expectation(device, None)


def slow_device(lab, delay_ms, depth=4):
    """A target that takes so long for each I/O. kublk has it below its loop target: its own delay ends early when
    anything else completes in its ring (fault_inject.c), and is none above a second."""
    if lab.server == "kublk":
        _server, lower = lab.bad_server("--delay-ms", delay_ms, "--depth", 2 * depth)
        return lab.any_server(kublk=("-t", "loop", "-q", 1, "-d", depth, f"/dev/ublkb{lower}"))
    return lab.any_server(bad=("--delay-ms", delay_ms, "--depth", depth),
                          ours=("-t", f"null+fault:delay={delay_ms}ms", "-d", depth, "--no-partition-scan"))


def load(lab, device, depth):
    """fio in the background, until it has done something."""
    lab.start("fio", "--name=load", f"--filename=/dev/ublkb{device}", "--rw=randread", "--bs=4k", "--direct=1",
              "--ioengine=io_uring", f"--iodepth={depth}", "--time_based", "--runtime=600", "--thread",
              "--size=16m", "--allow_file_create=0", "--output=/dev/null", stderr=subprocess.DEVNULL)
    stat = f"/sys/block/ublkb{device}/inflight"
    wait_until(lambda: int(open(stat).read().split()[0]) > 0, "I/O in flight")
