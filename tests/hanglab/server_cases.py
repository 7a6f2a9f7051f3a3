# SPDX-License-Identifier: MIT
"""Cases in which the server has the request, or would have it if it came for it."""

import os
import signal
import time

from lab import AGE_S, Expectation, case, wait_until


@case("server never commits a request", servers=("bad", "ours"))
def never_commits(lab):
    _pid, device = lab.any_server(bad=("--hold", "-1"), ours=("-t", "null+fault:hang=0", "-d", "1"))
    lab.blocked_read(device)
    return Expectation(device, "SERVER_HOLDS_IO", ("OWNED_BY_SRV", "io_cqring_wait"))


@case("server never commits, batch delivery")
def never_commits_batch(lab):
    _server, device = lab.bad_server("--hold", "-1", "--flags", "batch")
    lab.blocked_read(device)
    return Expectation(device, "SERVER_HOLDS_IO", ("OWNED_BY_SRV",))


@case("server stopped by SIGSTOP before it got the request", servers=("bad", "ours", "kublk"))
def stopped(lab):
    pid, device = lab.any_server()
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: "T" in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0], "server stopped")
    lab.blocked_read(device)
    return Expectation(device, "SERVER_STOPPED", ("is stopped", "ACTIVE"))


@case("batch server stopped by SIGSTOP", servers=("bad", "ours", "kublk"))
def stopped_batch(lab):
    pid, device = lab.any_server(bad=("--flags", "batch"), ours=("-t", "null", "-m", "batch"),
                                 kublk=("-t", "null", "-b"))
    os.kill(pid, signal.SIGSTOP)
    lab.blocked_read(device)
    return Expectation(device, "SERVER_STOPPED", ("is stopped",))


@case("server stopped while it holds requests, device being deleted", servers=("bad", "ours", "kublk"))
def stopped_and_deleted(lab):
    pid, device = lab.any_server()
    os.kill(pid, signal.SIGSTOP)
    lab.blocked_read(device)
    lab.control("del", device)
    time.sleep(0.5)
    return Expectation(device, "SERVER_STOPPED", ("is stopped",), also=("STOP_WAITS_IO", "CONTROL_WAITS_MUTEX"))


@case("server sleeps and never reaps its completions")
def never_reaps(lab):
    _server, device = lab.bad_server("--idle", "nap", "--no-defer")
    lab.blocked_read(device)
    return Expectation(device, "SERVER_NOT_REAPING", ("completion(s) wait",))


@case("server spins in user space and never enters the kernel")
def spins(lab):
    _server, device = lab.bad_server("--idle", "spin")
    lab.blocked_read(device)
    return Expectation(device, "SERVER_NOT_REAPING", ("task work waits",))


@case("server's completion queue overflows")
def overflow(lab):
    _server, device = lab.bad_server("--idle", "nap", "--no-defer", "--cq", "2", "--depth", "8")
    for number in range(6):
        lab.blocked_read(device, skip=number)
    return Expectation(device, "CQ_OVERFLOW", ("overflowed",))


@case("server prepares its commit and does not submit it")
def unsubmitted(lab):
    _server, device = lab.bad_server("--idle", "unsubmitted")
    lab.blocked_read(device)
    return Expectation(device, "COMMIT_NOT_SUBMITTED", ("SQE(s)",))


@case("loop target on another ublk device whose server is stopped", servers=("ours",))
def chain(lab):
    pid, lower = lab.our_server("-t", "null")
    _pid, upper = lab.our_server("-t", f"loop:/dev/ublkb{lower}")
    os.kill(pid, signal.SIGSTOP)
    lab.blocked_read(upper)
    return Expectation(lower, "SERVER_STOPPED", ("is stopped",), also=("CHAIN",))


@case("partition scan waits for a server that holds its read")
def partition_scan(lab):
    _server, device = lab.bad_server("--hold", "-1", "--flags", "part_scan")
    time.sleep(AGE_S)
    return Expectation(device, "SERVER_HOLDS_IO", ("OWNED_BY_SRV",), also=("PARTITION_SCAN",))
