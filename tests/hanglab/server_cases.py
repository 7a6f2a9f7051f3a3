# SPDX-License-Identifier: MIT
"""Cases in which the server has the request, or would have it if it came for it."""

import os
import shutil
import signal
import subprocess
import time

from lab import AGE_S, CannotRun, Expectation, case, wait_until
from near_misses import slow_device


@case("server never commits a request", servers=("bad", "ours"))
def never_commits(lab):
    _pid, device = lab.any_server(bad=("--hold", "-1"),
                                 ours=("-t", "null+fault:hang=0", "-d", "1", "--no-partition-scan"))
    lab.blocked_read(device)
    return Expectation(device, "SERVER_HOLDS_IO", ("OWNED_BY_SRV", "io_cqring_wait"))


@case("target takes an hour for a read: its I/O is in flight for longer than --slow", servers=("bad", "ours", "kublk"))
def target_slow(lab):
    _pid, device = slow_device(lab, 3_600_000)
    lab.blocked_read(device)
    return Expectation(device, "TARGET_SLOW", ("OWNED_BY_SRV", "1 request(s) of the target in flight"),
                       options=("--slow", AGE_S))


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


@case("server stopped while it holds requests, device being deleted", servers=("bad", "ours", "kublk"), alone=True)
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


@case("server spins in user space and never enters the kernel", alone=True)
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


@case("loop target on another ublk device whose server is stopped", servers=("ours", "kublk"))
def chain(lab):
    pid, lower = lab.any_server()
    _pid, upper = lab.any_server(ours=("-t", f"loop:/dev/ublkb{lower}"), kublk=("-t", "loop", f"/dev/ublkb{lower}"))
    os.kill(pid, signal.SIGSTOP)
    lab.blocked_read(upper)
    return Expectation(lower, "SERVER_STOPPED", ("is stopped",), also=("CHAIN",))


@case("backing device that never completes: its server holds the I/O of the server above it", servers=("ours", "kublk"))
def backing_held(lab):
    _process, lower = lab.bad_server("--hold", "-1")
    _pid, upper = lab.any_server(ours=("-t", f"loop:/dev/ublkb{lower}", "--no-partition-scan"),
                                 kublk=("-t", "loop", f"/dev/ublkb{lower}"))
    lab.blocked_read(upper)
    return Expectation(lower, "SERVER_HOLDS_IO", ("OWNED_BY_SRV",), also=("CHAIN",))


@case("NBD server does not answer a read", servers=("ours",))
def nbd_silent(lab):
    """Writes are answered: after 60 s without a byte the target would give up by itself."""
    _process, _pid, device = nbd_device(lab, "--filter=delay", "rdelay=6000")
    lab.start("sh", "-c", f"while dd if=/dev/zero of=/dev/ublkb{device} oflag=direct conv=notrunc,nocreat bs=4k count=1; do "
              "sleep 2; done", stderr=subprocess.DEVNULL)
    lab.blocked_read(device)
    return Expectation(device, "TARGET_SLOW", ("waiting for a socket",), options=("--slow", AGE_S))


@case("NBD server gone: its requests fail, nothing hangs", servers=("ours",))
def nbd_gone(lab):
    process, _pid, device = nbd_device(lab, "--filter=delay", "rdelay=600")
    client = lab.blocked_read(device)
    os.kill(process.pid, signal.SIGKILL)
    assert client.wait(120) != 0
    return Expectation(device, None)


def nbd_device(lab, *words):
    """nbdkit, and our server in front of it."""
    if shutil.which("nbdkit") is None:
        raise CannotRun("no nbdkit")
    socket = lab.folder / "nbd"
    filters = [word for word in words if word.startswith("--")]
    process = lab.start("nbdkit", "-f", "-U", socket, *filters, "memory", "64M",
                        *(word for word in words if word not in filters), stderr=subprocess.DEVNULL)
    wait_until(socket.is_socket, "nbdkit's socket")
    return process, *lab.our_server("-t", f"nbd:unix:{socket}", "--no-partition-scan")


@case("server reads its own device in the thread that serves it")
def self_read(lab):
    _process, device = lab.bad_server("--self", "read")
    lab.blocked_read(device)
    return Expectation(device, "SERVER_WAITS_FOR_ITSELF", ("of the server",))


@case("server opens its own disk while the partition scan waits for it", wedges=True)
def open_mutex(lab):
    _process, device = lab.bad_server("--self", "open", "--flags", "part_scan")
    lab.leave_it()
    time.sleep(AGE_S)
    return Expectation(device, "OPEN_MUTEX_DEADLOCK", ("of the server",), also=("PARTITION_SCAN",))


@case("partition scan waits for a server that holds its read")
def partition_scan(lab):
    _server, device = lab.bad_server("--hold", "-1", "--flags", "part_scan")
    time.sleep(AGE_S)
    return Expectation(device, "SERVER_HOLDS_IO", ("OWNED_BY_SRV",), also=("PARTITION_SCAN",))


@case("eight queues of 4096 tags (as many queues as CPUs), every tag waits for a target that is an hour slow",
      servers=("ours",), alone=True)
def many_tags(lab):
    queues = min(8, os.cpu_count() or 1)
    _pid, device = lab.our_server("-t", "null+fault:delay=60m", "-q", queues, "-d", 4096, "--no-partition-scan")
    lab.start("fio", "--name=load", f"--filename=/dev/ublkb{device}", "--rw=randread", "--bs=4k", "--direct=1",
              "--ioengine=io_uring", "--iodepth=4096", f"--numjobs={queues}", "--thread", f"--cpus_allowed=0-{queues - 1}",
              "--cpus_allowed_policy=split", "--size=1g", "--norandommap", "--allow_file_create=0", "--output=/dev/null",
              stderr=subprocess.DEVNULL)
    stat = f"/sys/block/ublkb{device}/inflight"
    wait_until(lambda: int(open(stat).read().split()[0]) == 4096 * queues, "all tags are taken", 600)
    return Expectation(device, "TARGET_SLOW", ("and 4095 more like it", "4096 request(s) of the target in flight"),
                       options=("--slow", AGE_S))
