# SPDX-License-Identifier: MIT
"""Cases in which the kernel itself has the disk open, and a delete waits for it: no process has a descriptor."""

import pathlib
import subprocess
import time

from lab import CannotRun, Expectation, case

RUN_TIMEOUT_S = 120
CONFIGFS = pathlib.Path("/sys/kernel/config")


def run(*words):
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"'{' '.join(map(str, words))}' did not end within {RUN_TIMEOUT_S} s") from late
    if done.returncode != 0:
        raise CannotRun(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout.strip()


def deleted(lab, device, *evidence):
    lab.control("del", device)
    time.sleep(3)
    return Expectation(device, "DELETE_WAITS_CLOSE", evidence)


def server(lab):
    return lab.bad_server("--store")[1]


def configfs():
    if not CONFIGFS.is_dir():
        run("modprobe", "configfs")
    if not pathlib.Path("/proc/mounts").read_text().count(f" {CONFIGFS} "):
        run("mount", "-t", "configfs", "none", CONFIGFS)


def loop_on(lab, device):
    run("modprobe", "loop")
    loop = run("losetup", "-f", "--show", f"/dev/ublkb{device}")
    lab.undo.callback(subprocess.run, ["losetup", "-d", loop], timeout=60)
    return f"in use by the kernel: {pathlib.Path(loop).name}"


@case("delete waits for a loop device on it")
def used_by_loop(lab):
    device = server(lab)
    return deleted(lab, device, loop_on(lab, device))


@case("delete waits for a device-mapper device on it")
def used_by_dm(lab):
    device = server(lab)
    run("modprobe", "dm-mod")
    name = f"lab{device}"
    run("dmsetup", "create", name, "--table", f"0 64 linear /dev/ublkb{device} 0")
    lab.undo.callback(subprocess.run, ["dmsetup", "remove", "--force", name], timeout=60)
    return deleted(lab, device, "in use by the kernel: dm-", "device-mapper")


@case("delete waits for swap on it")
def used_by_swap(lab):
    device = server(lab)
    run("mkswap", f"/dev/ublkb{device}")
    run("swapon", f"/dev/ublkb{device}")
    lab.undo.callback(subprocess.run, ["swapoff", f"/dev/ublkb{device}"], timeout=60)
    return deleted(lab, device, f"in use by the kernel: swap on ublkb{device}")


@case("delete waits for a namespace of nvmet on it")
def used_by_nvmet(lab):
    device = server(lab)
    configfs()
    run("modprobe", "nvmet")
    subsystem = CONFIGFS / f"nvmet/subsystems/lab{device}"
    space = subsystem / "namespaces/1"
    subsystem.mkdir()
    lab.undo.callback(subsystem.rmdir)
    space.mkdir()
    lab.undo.callback(space.rmdir)
    (space / "device_path").write_text(f"/dev/ublkb{device}")
    (space / "enable").write_text("1")
    lab.undo.callback((space / "enable").write_text, "0")
    return deleted(lab, device, f"namespace 1 of nvmet subsystem lab{device}")


@case("delete waits for a backstore of LIO on it")
def used_by_lio(lab):
    device = server(lab)
    configfs()
    run("modprobe", "target_core_iblock")
    adapter = CONFIGFS / f"target/core/iblock_{device}"
    store = adapter / "disk"
    adapter.mkdir()
    lab.undo.callback(adapter.rmdir)
    store.mkdir()
    lab.undo.callback(store.rmdir)
    (store / "control").write_text(f"udev_path=/dev/ublkb{device}")
    (store / "enable").write_text("1")
    return deleted(lab, device, "iblock backstore of LIO")


@case("delete waits for a loop device on it, alongside a process", servers=("ours",))
def used_by_loop_and_process(lab):
    _pid, device = lab.our_server("-t", "mem:64M")
    evidence = loop_on(lab, device)
    with open(f"/dev/ublkb{device}", "rb") as disk:
        client = subprocess.Popen(["sleep", "1000"], stdin=disk)
    lab.undo.callback(client.wait)
    lab.undo.callback(client.kill)
    return deleted(lab, device, evidence, "block device is open: sleep")
