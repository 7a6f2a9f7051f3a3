# SPDX-License-Identifier: MIT
"""Cases in which the server may not run: frozen, traced, or out of CPU time."""

import os
import signal
import subprocess
import time

from lab import AGE_S, ROOT, CannotRun, Expectation, case, state_of, wait_until
from near_misses import load


class Hierarchy:
    """A cgroup file system of the lab's own. A process that was put into it goes back when the case ends."""

    def __init__(self, lab, *words):
        self.lab, self.folder = lab, lab.folder / f"cgroup{len(words)}"
        self.folder.mkdir()
        if subprocess.run(["mount", *words, "none", self.folder], stderr=subprocess.DEVNULL, timeout=60).returncode != 0:
            raise CannotRun(f"no cgroup file system: mount {' '.join(words)}")
        lab.undo.callback(subprocess.run, ["umount", "-l", self.folder], timeout=60)

    def group(self, name):
        group = self.folder / f"{name}-{os.getpid()}-{len(self.lab.devices)}-{self.lab.devices[-1]}"
        group.mkdir(parents=True)
        self.lab.undo.callback(self._remove, group)
        return group

    def _remove(self, group):
        for file, word in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
            if (group / file).exists():
                (group / file).write_text(word)
        for pid in (group / "cgroup.procs").read_text().split():
            try:
                (self.folder / "cgroup.procs").write_text(pid)
            except OSError:
                pass  # it has ended
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "cgroup is empty")
        group.rmdir()


def put(pid, group):
    (group / "cgroup.procs").write_text(str(pid))


def freeze(group):
    (group / "cgroup.freeze").write_text("1")
    wait_until(lambda: "frozen 1" in (group / "cgroup.events").read_text(), "cgroup is frozen")


def frozen_cgroup(lab, pid):
    group = Hierarchy(lab, "-t", "cgroup2").group("paused")
    put(pid, group)
    freeze(group)
    return group


@case("server frozen by its cgroup before it got the request (docker pause)", servers=("bad", "ours", "kublk"))
def frozen(lab):
    pid, device = lab.any_server()
    group = frozen_cgroup(lab, pid)
    lab.blocked_read(device)
    return Expectation(device, "SERVER_FROZEN", ("frozen by cgroup", group.name))


@case("server frozen by its cgroup, task work is run under the freezer: it has the request")
def frozen_with_request(lab):
    process, device = lab.bad_server("--no-defer")
    group = frozen_cgroup(lab, process.pid)
    lab.blocked_read(device)
    return Expectation(device, "SERVER_FROZEN", ("frozen by cgroup", group.name))


@case("batch server frozen by its cgroup", servers=("bad", "ours"))
def frozen_batch(lab):
    pid, device = lab.any_server(bad=("--flags", "batch"), ours=("-t", "null", "-m", "batch"))
    group = frozen_cgroup(lab, pid)
    lab.blocked_read(device)
    return Expectation(device, "SERVER_FROZEN", ("frozen by cgroup", group.name))


@case("server frozen by a cgroup above its own")
def frozen_above(lab):
    process, device = lab.bad_server()
    hierarchy = Hierarchy(lab, "-t", "cgroup2")
    above = hierarchy.group("slice")
    below = above / "service"
    below.mkdir()
    lab.undo.callback(hierarchy._remove, below)
    put(process.pid, below)
    freeze(above)
    lab.blocked_read(device)
    return Expectation(device, "SERVER_FROZEN", (f"frozen by cgroup /{above.name}",))


@case("server stopped by SIGSTOP in a frozen cgroup: both have to be undone")
def frozen_and_stopped(lab):
    process, device = lab.bad_server()
    os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(process.pid) == "T", "server stopped")
    group = frozen_cgroup(lab, process.pid)
    lab.blocked_read(device)
    return Expectation(device, "SERVER_STOPPED", ("stopped by SIGSTOP", "frozen by cgroup", group.name))


@case("server frozen by the freezer of cgroup v1")
def frozen_v1(lab):
    process, device = lab.bad_server()
    group = Hierarchy(lab, "-t", "cgroup", "-o", "freezer").group("paused")
    put(process.pid, group)
    (group / "freezer.state").write_text("FROZEN")
    wait_until(lambda: "FROZEN" in (group / "freezer.state").read_text(), "cgroup is frozen")
    lab.blocked_read(device)
    return Expectation(device, "SERVER_FROZEN", ("freezer cgroup", group.name))


@case("server stopped by a debugger")
def traced(lab):
    process, device = lab.bad_server()
    tracer = lab.start("python3", ROOT / "tests/hanglab/tracer.py", process.pid, stdout=subprocess.PIPE)
    assert tracer.stdout.readline() == "traced\n"
    wait_until(lambda: state_of(process.pid) == "t", "server traced")
    lab.blocked_read(device)
    return Expectation(device, "SERVER_STOPPED", ("traced by python3",))


def limited(lab, pid, quota):
    hierarchy = Hierarchy(lab, "-t", "cgroup2")
    try:
        (hierarchy.folder / "cgroup.subtree_control").write_text("+cpu")
    except OSError as error:
        raise CannotRun("the cpu controller cannot be had in cgroup v2") from error
    group = hierarchy.group("limited")
    (group / "cpu.max").write_text(quota)
    put(pid, group)
    return group


@case("server's cgroup has used up its CPU quota", servers=("ours",))
def throttled(lab):
    """In a millisecond of each second it completes some 200 I/Os, so that of 1024 most wait for longer than AGE_S."""
    pid, device = lab.our_server("-t", "null", "--no-partition-scan", "-d", "1024")
    group = limited(lab, pid, "1000 1000000")
    load(lab, device, 1024)
    return Expectation(device, "SERVER_THROTTLED", ("throttled in", group.name), options=("--slow", AGE_S))


@case("frozen process that has nothing to do with the device, whose server holds a request")
def frozen_stranger(lab):
    _process, device = lab.bad_server("--hold", "-1")
    stranger = lab.start("sleep", "1000")
    frozen_cgroup(lab, stranger.pid)
    lab.blocked_read(device)
    return Expectation(device, "SERVER_HOLDS_IO", ("OWNED_BY_SRV",))


@case("server that was frozen and is thawed again: nothing hangs")
def thawed(lab):
    process, device = lab.bad_server()
    group = frozen_cgroup(lab, process.pid)
    client = lab.blocked_read(device)
    (group / "cgroup.freeze").write_text("0")
    client.wait(120)
    return Expectation(device, None)


@case("server under a CPU quota that it does not use up holds a request")
def quota_unused(lab):
    process, device = lab.bad_server("--hold", "-1")
    limited(lab, process.pid, "900000 1000000")
    lab.blocked_read(device)
    return Expectation(device, "SERVER_HOLDS_IO", ("OWNED_BY_SRV",))


@case("a device whose STOP is merely slow, while another device hangs")
def slow_stop_beside_a_hang(lab):
    _server, hung = lab.bad_server("--hold", "-1")
    lab.blocked_read(hung)
    _other, device = lab.bad_server("--delay-ms", "600000")
    lab.blocked_read(device)
    lab.control("stop", device)
    time.sleep(1)
    return Expectation(device, None, options=("--slow", 3600))


@case("killed server whose target's I/O does not end: its ring waits for it, and no cancel loops", servers=("ours",),
      alone=True)
def killed_with_target_io(lab):
    _process, lower = lab.bad_server("--hold", "-1")
    pid, device = lab.our_server("-t", f"loop:/dev/ublkb{lower}", "--no-partition-scan")
    lab.blocked_read(device)
    time.sleep(1)
    os.kill(pid, signal.SIGKILL)
    time.sleep(1)
    # The process that watches over the server deletes the device, and that waits as well.
    return Expectation(device, "SERVER_EXIT_WAITS_IO", ("is being torn down",), also=("STOP_WAITS_IO", "CONTROL_WAITS_MUTEX"))
