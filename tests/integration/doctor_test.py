#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""doctor says of this machine what is so, not what a sysctl suggests; and what ADD_DEV refuses says why."""

import contextlib
import ctypes
import json
import os
import pathlib
import struct
import unittest

import ublk

DISABLED = pathlib.Path("/proc/sys/kernel/io_uring_disabled")
GROUP = pathlib.Path("/proc/sys/kernel/io_uring_group")
UBLKS_MAX = pathlib.Path("/sys/module/ublk_drv/parameters/ublks_max")
CONTROL = pathlib.Path("/dev/ublk-control")
NOBODY, MEMBERS = 65534, 4242  # a user, and a group that nobody else is in

IO_URING_SETUP, IO_URING_ENTER = 425, 426
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2


def deny(system_call):
    """For preexec_fn: the call fails with EPERM, as in a container with Docker's default profile."""
    instruction = struct.Struct("HBBI").pack
    program = b"".join((
        instruction(0x20, 0, 0, 0),                  # load the number of the call
        instruction(0x15, 0, 1, system_call),        # is it the one?
        instruction(0x06, 0, 0, 0x00050000 | 1),     # SECCOMP_RET_ERRNO, EPERM
        instruction(0x06, 0, 0, 0x7FFF0000)))        # SECCOMP_RET_ALLOW
    code = ctypes.create_string_buffer(program)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)

    calls = ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0))

    def apply(_kept=(code, header)):
        for words in calls:
            if libc.prctl(*map(ctypes.c_ulong, words)) != 0:
                os._exit(99)

    return apply


@contextlib.contextmanager
def written(path, text):
    before = path.read_text().strip()
    path.write_text(str(text))
    try:
        yield
    finally:
        path.write_text(before)


@contextlib.contextmanager
def control_open_to_all():
    mode = CONTROL.stat().st_mode & 0o777
    CONTROL.chmod(0o666)
    try:
        yield
    finally:
        CONTROL.chmod(mode)


class Doctor(ublk.TestCase):
    def doctor(self, *before, **options):
        done = ublk.run(*before, self.program, "doctor", "--json", **options)
        self.assertIn(done.returncode, (0, 5), done.stderr)
        document = json.loads(done.stdout)
        self.assertEqual(document["can_run"], done.returncode == 0)
        return document["can_run"], {check["name"]: check for check in document["checks"]}

    def setUp(self):
        super().setUp()
        self.program = self.enterContext(ublk.for_everyone(ublk.UBLKBENCH))

    def check(self, checks, name, status, says):
        self.assertEqual(checks[name]["status"], status, checks[name])
        self.assertRegex(f"{checks[name]['finding']} -> {checks[name]['advice']}", says)

    def test_this_machine_can_run(self):
        can_run, checks = self.doctor()
        self.assertTrue(can_run, checks)
        self.check(checks, "io_uring", "ok", "a ring works")
        self.check(checks, "ublk driver", "ok", "module ublk_drv is loaded|built into the kernel")

    def test_a_seccomp_filter_is_a_problem(self):
        for number, name in ((IO_URING_SETUP, "io_uring_setup"), (IO_URING_ENTER, "io_uring_enter")):
            with self.subTest(name):
                can_run, checks = self.doctor(preexec_fn=deny(number))
                self.assertFalse(can_run)
                self.check(checks, "io_uring", "fail", rf"{name}: Operation not permitted.*seccomp filter.*seccomp=unconfined")
                self.check(checks, "ublk driver", "ok", "module ublk_drv is loaded|built into the kernel")

    @unittest.skipUnless(DISABLED.exists(), "this kernel has no io_uring_disabled")
    def test_io_uring_disabled_is_named_for_those_whom_it_shuts_out(self):
        outsider = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        member = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", f"--groups={MEMBERS}")
        with written(GROUP, MEMBERS), written(DISABLED, 1):
            self.check(self.doctor()[1], "io_uring", "ok", "lets this process in")
            self.check(self.doctor(*member)[1], "io_uring", "ok", "lets this process in")
            self.check(self.doctor(*outsider)[1], "io_uring", "fail", rf"io_uring_disabled=1.*group {MEMBERS}.*join that group")
        with written(DISABLED, 2):
            can_run, checks = self.doctor()
            self.assertFalse(can_run)
            self.check(checks, "io_uring", "fail", "for everybody.*sysctl kernel.io_uring_disabled=0")

    def test_who_may_not_open_the_control_node(self):
        _, checks = self.doctor("setpriv", f"--reuid={NOBODY}", "--clear-groups")
        self.check(checks, "ublk driver", "info", "cannot be opened: Permission denied -> run as root")
        self.check(checks, "permission", "fail", "no CAP_SYS_ADMIN")
        # Root of a user namespace: the driver asks for the machine's CAP_SYS_ADMIN.
        with control_open_to_all():
            can_run, checks = self.doctor("unshare", "--user", "--map-root-user", "setpriv", "--no-new-privs")
            self.assertFalse(can_run)
            self.check(checks, "permission", "fail", "of a user namespace only")

    def test_the_limit_on_devices_is_named(self):
        server = self.enterContext(ublk.for_everyone(ublk.SERVER))
        with control_open_to_all(), written(UBLKS_MAX, 0):
            added = ublk.run("setpriv", f"--reuid={NOBODY}", "--clear-groups", server, "add", "--unprivileged", "-t", "null")
            self.assertEqual(added.returncode, 5, added.stderr)
            self.assertRegex(added.stderr, rf"ADD_DEV.*Permission denied; ublks_max is 0, and \d+ device.*{UBLKS_MAX}")
            self.check(self.doctor()[1], "ublks_max", "warn", "ublks_max is 0.*EACCES")

    def test_root_gets_no_unprivileged_device(self):
        added = ublk.run(ublk.SERVER, "add", "--unprivileged", "-t", "null")
        self.assertEqual(added.returncode, 5, added.stderr)
        self.assertRegex(added.stderr, "unprivileged device to a caller with CAP_SYS_ADMIN: run it as the user")
        self.assertNotIn("first in Linux", added.stderr)


if __name__ == "__main__":
    ublk.main()
