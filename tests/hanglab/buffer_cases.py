# SPDX-License-Identifier: MIT
"""Cases of registered buffers, and of batch delivery's fetch commands and provided buffers."""

import contextlib
import os
import signal
import subprocess
import time

from lab import Expectation, case


def leaking(lab, *arguments):
    """A server with a leaked buffer, and its client. The buffer goes back before the server ends."""
    process, device = lab.bad_server("--flags", "zc", *arguments)
    client = lab.blocked_read(device)
    lab.undo.callback(settle, process, client)
    return device


def settle(process, client):
    process.send_signal(signal.SIGUSR1)
    with contextlib.suppress(subprocess.TimeoutExpired):
        client.wait(3)


@case("buffer registered on the daemon's ring and never unregistered")
def leak_own(lab):
    device = leaking(lab, "--leak", "own")
    return Expectation(device, "BUFFER_REFERENCE", ("1 reference(s) are left", "slot"))


@case("buffer registered on another ring of the daemon and never unregistered")
def leak_second_ring(lab):
    device = leaking(lab, "--leak", "second")
    return Expectation(device, "BUFFER_REFERENCE", ("1 reference(s) are left", "slot"))


@case("buffer registered by another thread and never unregistered")
def leak_off_task(lab):
    device = leaking(lab, "--leak", "thread", "--no-defer")
    return Expectation(device, "BUFFER_REFERENCE", ("1 reference(s) are left", "slot"))


@case("buffer registered and the request never committed")
def held_with_buffer(lab):
    device = leaking(lab, "--register-only")
    return Expectation(device, "SERVER_HOLDS_IO", ("1 buffer reference(s)",))


@case("batch server without a fetch command")
def no_fetch(lab):
    _process, device = lab.bad_server("--flags", "batch", "--batch", "none")
    lab.blocked_read(device)
    return Expectation(device, "NO_FETCH_COMMAND", ("1 tag(s) in the fifo",))


@case("batch server whose provided buffers have run out")
def starved_buffers(lab):
    _process, device = lab.bad_server("--flags", "batch", "--batch", "starved")
    lab.read(device).wait(120)
    lab.blocked_read(device, skip=1)
    return Expectation(device, "NO_FETCH_COMMAND", ("in the fifo",))


@case("server with a leaked buffer killed: its ring's teardown never ends (defect D2)", wedges=True)
def cancel_livelock(lab):
    process, device = lab.bad_server("--flags", "zc", "--leak", "own")
    lab.blocked_read(device)
    lab.leave_it()
    time.sleep(1)  # killed before its commit, the server is cleaned up after as it should be
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(1)
    return Expectation(device, "CANCEL_LIVELOCK", ("slot", "being torn down"), also=("QUEUE_FROZEN",))
