# SPDX-License-Identifier: MIT
"""Cases of stopping, deleting, starting and recovering devices."""

import json
import os
import pathlib
import signal
import subprocess
import time

from lab import Expectation, case, kill, state_of, wait_until


def info(lab, device):
    return json.loads(lab.control_result("info", device))


def killed(lab, pid, device, state):
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: info(lab, device)["state"] == state, f"device is in state {state}")


@case("server killed, no recovery: the device is dead, nothing hangs", servers=("bad", "kublk"))
def killed_fail(lab):
    pid, device = lab.any_server()
    lab.read(device).wait(120)
    killed(lab, pid, device, 0)
    return Expectation(device, None)


@case("server killed with USER_RECOVERY: new I/O waits for recovery", servers=("bad", "kublk"))
def killed_recovery(lab):
    pid, device = lab.any_server(bad=("--flags", "recovery"), kublk=("-t", "null", "-r", "1"))
    killed(lab, pid, device, 2)
    lab.blocked_read(device)
    return Expectation(device, "WAITS_RECOVERY", ("QUIESCED",))


@case("server killed with USER_RECOVERY_REISSUE while it held a request", servers=("bad", "kublk"))
def killed_reissue(lab):
    pid, device = lab.any_server(bad=("--flags", "reissue", "--hold", "-1"),
                                 kublk=("-t", "null", "-r", "1", "-i", "1"))
    if lab.server == "kublk":
        os.kill(pid, signal.SIGSTOP)
    lab.blocked_read(device)
    killed(lab, pid, device, 2)
    return Expectation(device, "WAITS_RECOVERY", ("1 request(s) on the requeue list",))


@case("server killed with USER_RECOVERY_FAIL_IO: I/O fails, nothing hangs", servers=("bad", "kublk"))
def killed_fail_io(lab):
    pid, device = lab.any_server(bad=("--flags", "fail_io"), kublk=("-t", "null", "-r", "1", "-e", "1"))
    killed(lab, pid, device, 3)
    assert lab.read(device).wait(120) != 0
    return Expectation(device, None)


@case("server killed, recovery: nothing waits yet", servers=("bad", "kublk"))
def recovery_idle(lab):
    pid, device = lab.any_server(bad=("--flags", "recovery"), kublk=("-t", "null", "-r", "1"))
    killed(lab, pid, device, 2)
    return Expectation(device, None)


@case("new server has begun the recovery and fetches only half of the tags")
def recovery_half(lab):
    process, device = lab.bad_server("--flags", "reissue", "--hold", "-1")
    lab.blocked_read(device)
    killed(lab, process.pid, device, 2)
    lab.bad_server("--fetch", "2", verb=("recover", str(device)), ready="added")
    time.sleep(2)
    return Expectation(device, "START_WAITS_FETCH", ("2 of 4 tags",), also=("RECOVERY_UNFINISHED",))


@case("START_DEV waits for tags that the server does not fetch")
def start_waits(lab):
    _process, device = lab.bad_server("--fetch", "3", ready="added")
    time.sleep(2)
    return Expectation(device, "START_WAITS_FETCH", ("3 of 4 tags",))


@case("delete waits for a client that has the block device open", servers=("bad", "ours", "kublk"))
def opener(lab):
    _pid, device = lab.any_server()
    with open(f"/dev/ublkb{device}", "rb") as disk:
        client = subprocess.Popen(["sleep", "1000"], stdin=disk)
    lab.undo.callback(client.wait)
    lab.undo.callback(client.kill)
    lab.control("del", device)
    time.sleep(2)
    return Expectation(device, "DELETE_WAITS_CLOSE", ("block device is open: sleep",))


@case("delete waits for a mounted file system", servers=("bad", "ours", "kublk"))
def mounted(lab):
    backing = lab.folder / "backing"
    with backing.open("wb") as file:
        file.truncate(64 << 20)
    _pid, device = lab.any_server(bad=("--store",), ours=("-t", "mem:64M"), kublk=("-t", "loop", backing))
    folder = lab.folder / "mnt"
    folder.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", f"/dev/ublkb{device}"], check=True, timeout=300)
    subprocess.run(["mount", f"/dev/ublkb{device}", str(folder)], check=True, timeout=300)
    lab.undo.callback(subprocess.run, ["umount", "-l", str(folder)], timeout=300)
    lab.control("del", device)
    time.sleep(3)
    return Expectation(device, "DELETE_WAITS_CLOSE", ("mounted: ext4",))


def killed_and_held(lab, pid, device):
    lab.keep(pid, f"/dev/ublkc{device}")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: state_of(pid) in "-Z", "server's end")


def left_to_keeper(lab, process):
    """Kills the server; its child, the keeper, is found while it still has a parent."""
    (keeper,) = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    lab.undo.callback(kill, int(keeper))
    os.kill(process.pid, signal.SIGKILL)
    process.wait(120)


@case("server of a recoverable device killed while another process has a descriptor of its char device",
      servers=("bad", "kublk"))
def held_by_stranger(lab):
    pid, device = lab.any_server(bad=("--flags", "recovery"), kublk=("-t", "null", "-r", "1"))
    killed_and_held(lab, pid, device)
    lab.blocked_read(device)
    return Expectation(device, "CHARDEV_HELD", ("keeper", "by fd"))


@case("the same without recovery: I/O fails as soon as the commands are canceled, nothing hangs", servers=("bad", "kublk"))
def held_without_recovery(lab):
    pid, device = lab.any_server()
    killed_and_held(lab, pid, device)
    assert lab.read(device).wait(120) != 0
    return Expectation(device, None)


@case("delete waits for a char device that another process has open (dup'd fd)", servers=("bad", "kublk"))
def delete_held_by_char(lab):
    pid, device = lab.any_server()
    killed_and_held(lab, pid, device)
    lab.control("del", device)
    time.sleep(2)
    return Expectation(device, "DELETE_WAITS_CLOSE", ("keeper", "by fd"))


@case("delete waits for a char device that is a registered file of somebody's ring")
def delete_held_by_ring(lab):
    process, device = lab.bad_server("--keep", "ring")
    left_to_keeper(lab, process)
    lab.control("del", device)
    time.sleep(2)
    return Expectation(device, "DELETE_WAITS_CLOSE", ("registered file", "keeper"))


@case("server killed with a mount in its own mount namespace, recoverable device")
def mount_namespace(lab):
    process, device = lab.bad_server("--store", "--flags", "reissue", within=("unshare", "-m"))
    folder = lab.folder / "mnt"
    folder.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", f"/dev/ublkb{device}"], check=True, timeout=300)
    inside = ["nsenter", "-t", str(process.pid), "-m"]
    subprocess.run([*inside, "mount", f"/dev/ublkb{device}", folder], check=True, timeout=300)
    subprocess.run([*inside, "cp", "/bin/bash", folder], check=True, timeout=300)  # dirty pages
    os.kill(process.pid, signal.SIGKILL)
    return Expectation(device, "SERVER_EXIT_FLUSHES", ("cleanup_mnt",))


def held_by(keeps, title, *evidence):
    """A server that is killed while a child of it, the keeper, holds on to its device."""
    def held(lab):
        process, device = lab.bad_server("--hold", "-1", "--keep", keeps)
        lab.blocked_read(device)
        left_to_keeper(lab, process)
        return Expectation(device, "CHARDEV_HELD", evidence)
    held.__name__ = f"held_by_{keeps.removesuffix('s')}"
    case(f"server killed while a child has {title}")(held)


held_by("fds", "its char device and ring open still", "keeper")
held_by("char", "only its char device open (dup'd fd)", "keeper", "by fd")
held_by("map", "only its io descriptors mapped, and no descriptor", "keeper", "by mmap")
held_by("ring", "its ring, whose registered file is the char device", "registered file", "keeper")


@case("device stopped while the server holds a request; a second command waits for the mutex",
      servers=("bad",))
def stop_waits(lab):
    _process, device = lab.bad_server("--hold", "-1")
    lab.blocked_read(device)
    lab.control("stop", device)
    time.sleep(0.5)
    lab.control("stop", device)
    time.sleep(2.5)
    return Expectation(device, "CONTROL_WAITS_MUTEX", ("that iou-wrk",), also=("STOP_WAITS_IO", "SERVER_HOLDS_IO"))


@case("device with recovery deleted while its server holds a request: waits quiesced")
def stop_waits_quiesced(lab):
    _process, device = lab.bad_server("--hold", "-1", "--flags", "recovery")
    lab.blocked_read(device)
    lab.control("stop", device)
    time.sleep(1)
    return Expectation(device, "SERVER_HOLDS_IO", ("OWNED_BY_SRV",), also=("STOP_WAITS_IO",))


def holding_both_tags(lab):
    """A server with recovery and two tags, who can be told to commit, its device and two clients that wait for it.
    Not bad_server itself: one on a backing device whose server holds everything."""
    bad = ("--hold", "-1", "--flags", "reissue,quiesce", "--depth", "2")
    if lab.server == "bad":
        process, device = lab.bad_server(*bad)
    else:
        process, lower = lab.bad_server("--hold", "-1")
        _pid, device = lab.any_server(
            ours=("-t", f"loop:/dev/ublkb{lower}", "-d", "2", "--recovery", "reissue", "--no-partition-scan"),
            kublk=("-t", "loop", "-q", "1", "-d", "2", "-r", "1", "-i", "1", f"/dev/ublkb{lower}"))
    # A scheduler would take the request out of the requeue list.
    pathlib.Path(f"/sys/block/ublkb{device}/queue/scheduler").write_text("none")
    return process.pid, device, [lab.blocked_read(device), lab.blocked_read(device, skip=1)]


@case("quiesced while the server holds every tag", servers=("bad", "ours", "kublk"))
def quiesce_held(lab):
    _releases, device, _clients = holding_both_tags(lab)
    assert lab.control_result("quiesce", device) == "0"
    return Expectation(device, "QUIESCE_HELD", ("2 owned by the server",), also=("SERVER_HOLDS_IO", "TARGET_SLOW"))


@case("quiesced while the server held every tag, which it then commits (defect D1)", servers=("bad", "ours", "kublk"))
def quiesce_missed(lab):
    releases, device, clients = holding_both_tags(lab)
    assert lab.control_result("quiesce", device) == "0"
    os.kill(releases, signal.SIGUSR1)
    for client in clients:
        client.wait(120)
    lab.blocked_read(device, skip=2)
    return Expectation(device, "QUIESCE_MISSED", ("0 io command(s) canceled", "1 request(s) requeued"))


@case("quiesced with a free tag: the server has to finish what it holds (not a hang of the driver)")
def quiesce_waits(lab):
    _process, device = lab.bad_server("--hold", "-1", "--flags", "reissue,quiesce", "--depth", "4")
    lab.blocked_read(device)
    assert lab.control_result("quiesce", device) == "0"
    return Expectation(device, "QUIESCE_WAITS_IO", ("3 io command(s) canceled",), also=("SERVER_HOLDS_IO",))
