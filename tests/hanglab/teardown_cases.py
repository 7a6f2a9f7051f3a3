# SPDX-License-Identifier: MIT
"""Cases of stopping, deleting, starting and recovering devices."""

import json
import os
import signal
import subprocess
import time

from lab import Expectation, case, wait_until


def info(lab, device):
    return json.loads(lab.control_result("info", device))


def killed(lab, pid, device, state):
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: info(lab, device)["state"] == state, f"device is in state {state}")


@case("server killed, no recovery: the device is dead, nothing hangs", servers=("bad", "kublk"))
def killed_fail(lab):
    pid, device = lab.any_server()
    lab.read(device).wait(20)
    killed(lab, pid, device, 0)
    return Expectation(device, None)


@case("server killed with USER_RECOVERY: new I/O waits for recovery", servers=("bad", "kublk"))
def killed_recovery(lab):
    pid, device = lab.any_server(bad=("--flags", "recovery"), kublk=("-t", "null", "-r", "1"))
    killed(lab, pid, device, 2)
    lab.blocked_read(device)
    return Expectation(device, "WAITS_RECOVERY", ("QUIESCED",))


@case("server killed with USER_RECOVERY_REISSUE while it held a request")
def killed_reissue(lab):
    process, device = lab.bad_server("--flags", "reissue", "--hold", "-1")
    lab.blocked_read(device)
    killed(lab, process.pid, device, 2)
    return Expectation(device, "WAITS_RECOVERY", ("1 request(s) on the requeue list",))


@case("server killed with USER_RECOVERY_FAIL_IO: I/O fails, nothing hangs", servers=("bad", "kublk"))
def killed_fail_io(lab):
    pid, device = lab.any_server(bad=("--flags", "fail_io"), kublk=("-t", "null", "-r", "1", "-e", "1"))
    killed(lab, pid, device, 3)
    assert lab.read(device).wait(20) != 0
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


@case("delete waits for a mounted file system")
def mounted(lab):
    _pid, device = lab.our_server("-t", "mem:64M")
    folder = lab.folder / "mnt"
    folder.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", f"/dev/ublkb{device}"], check=True, timeout=60)
    subprocess.run(["mount", f"/dev/ublkb{device}", str(folder)], check=True, timeout=60)
    lab.undo.callback(subprocess.run, ["umount", "-l", str(folder)], timeout=60)
    lab.control("del", device)
    time.sleep(3)
    return Expectation(device, "DELETE_WAITS_CLOSE", ("mounted: ext4",))


@case("server killed while a child still has its char device and ring open")
def held_by_fd(lab):
    process, device = lab.bad_server("--hold", "-1", "--keep", "fds")
    lab.blocked_read(device)
    lab.undo.callback(subprocess.run, ["pkill", "-KILL", "-x", "keeper"], check=False)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    return Expectation(device, "CHARDEV_HELD", ("keeper",))


@case("server killed while a child has only its char device open (dup'd fd)")
def held_by_char(lab):
    process, device = lab.bad_server("--hold", "-1", "--keep", "char")
    lab.blocked_read(device)
    lab.undo.callback(subprocess.run, ["pkill", "-KILL", "-x", "keeper"], check=False)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    return Expectation(device, "CHARDEV_HELD", ("keeper", "by fd"))


@case("server killed while a child has its ring, whose registered file is the char device")
def held_by_ring(lab):
    process, device = lab.bad_server("--hold", "-1", "--keep", "ring")
    lab.blocked_read(device)
    lab.undo.callback(subprocess.run, ["pkill", "-KILL", "-x", "keeper"], check=False)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    return Expectation(device, "CHARDEV_HELD", ("registered file", "keeper"))


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


@case("quiesced while the server holds every tag")
def quiesce_held(lab):
    _process, device = lab.bad_server("--hold", "-1", "--flags", "reissue,quiesce", "--depth", "2")
    lab.blocked_read(device)
    lab.blocked_read(device, skip=1)
    assert lab.control_result("quiesce", device) == "0"
    return Expectation(device, "QUIESCE_HELD", ("2 owned by the server",), also=("SERVER_HOLDS_IO",))


@case("quiesced while the server held every tag, which it then commits (defect D1)")
def quiesce_missed(lab):
    process, device = lab.bad_server("--hold", "-1", "--flags", "reissue,quiesce", "--depth", "2")
    clients = [lab.blocked_read(device), lab.blocked_read(device, skip=1)]
    assert lab.control_result("quiesce", device) == "0"
    os.kill(process.pid, signal.SIGUSR1)
    for client in clients:
        client.wait(20)
    lab.blocked_read(device, skip=2)
    return Expectation(device, "QUIESCE_MISSED", ("0 io command(s) canceled", "1 request(s) requeued"))


@case("quiesced with a free tag: the server has to finish what it holds (not a hang of the driver)")
def quiesce_waits(lab):
    _process, device = lab.bad_server("--hold", "-1", "--flags", "reissue,quiesce", "--depth", "4")
    lab.blocked_read(device)
    assert lab.control_result("quiesce", device) == "0"
    return Expectation(device, "QUIESCE_WAITS_IO", ("3 io command(s) canceled",), also=("SERVER_HOLDS_IO",))
