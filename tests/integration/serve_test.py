#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublk-server serve, as a service manager runs it: the same words at each start, whatever became of the last one."""

import os
import signal
import socket
import subprocess

import clients
import ublk
from ublk import devices, process_ended, run, scratch_folder, sparse_file, wait_until

NUMBER = 7


class Service:
    """One start. `said` has what it told $NOTIFY_SOCKET until now."""

    def __init__(self, folder, *words):
        path = f"{folder}/notify"
        if os.path.exists(path):
            os.unlink(path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(path)
        self.said = []
        self.process = subprocess.Popen(
            [ublk.SERVER, "serve", "-n", str(NUMBER), *map(str, words)], text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"NOTIFY_SOCKET": path})

    def wait_for(self, state):
        while state not in self.said:
            self.notify.settimeout(ublk.HANG_S)
            self.said.append(self.notify.recv(4096).decode())

    def end(self, number=None):
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=ublk.HANG_S)
        self.notify.close()
        return self.process.returncode, out, err


class Serve(ublk.TestCase):
    def start(self, folder, *words):
        service = Service(folder, *words)
        self.addCleanup(service.process.kill)
        return service

    def test_restarts_are_not_seen_by_verified_load(self):
        with scratch_folder() as folder:
            words = ("-m", "auto_zc", "-t", f"loop:{sparse_file(folder, 'backing', 64 << 20)}")
            service = self.start(folder, *words)
            service.wait_for("READY=1")
            load = clients.VerifyingLoad(f"/dev/ublkb{NUMBER}")
            for victim in ("server", "supervisor"):
                pid = devices()[NUMBER]["server_pid"]
                os.kill(pid if victim == "server" else service.process.pid, signal.SIGKILL)
                code, _out, err = service.end()
                self.assertNotEqual(code, 0, "a service manager must see that it failed")
                if victim == "server":
                    self.assertIn(f"device {NUMBER} stays", err)
                # At once: the server may still be on its way out.
                service = self.start(folder, *words)
                service.wait_for("READY=1")
                self.assertEqual(devices()[NUMBER]["state"], "LIVE")
            reports = load.stop()
            self.assertTrue(reports)
            self.assertEqual((clients.errors(reports), clients.bad_blocks(reports)), (0, 0), reports)
            self.assertGreater(min(report["checked_blocks"] for report in reports), 0)
            code, out, err = service.end(signal.SIGTERM)
            self.assertEqual((code, err), (0, ""))
            self.assertIn("mode auto_zc", out)
            self.assertNotIn(NUMBER, devices())
            self.assertEqual(service.said, ["READY=1"])

    def test_stopping_is_told(self):
        with scratch_folder() as folder:
            service = self.start(folder, "-t", "null")
            service.wait_for("READY=1")
            service.process.send_signal(signal.SIGTERM)
            service.wait_for("STOPPING=1")
            self.assertEqual(service.end()[0], 0)

    def test_is_refused(self):
        with scratch_folder() as folder:
            code, out, err = self.start(folder, "-t", "nonsense").end()
            self.assertEqual((code, out), (2, ""))
            self.assertRegex(err, "^ublk-server: ")
        done = run(ublk.SERVER, "serve", "-t", "null")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no device named", done.stderr)
        with ublk.Device("-t", "null", "-n", NUMBER, "--recovery", "fail"):
            done = run(ublk.SERVER, "serve", "-n", NUMBER, "-t", "null")
            self.assertEqual(done.returncode, 5, done.stdout)
            self.assertRegex(done.stderr, rf"device {NUMBER} has a server already.*process \d+")

    def test_a_device_that_cannot_be_taken_over(self):
        with ublk.Device("-t", "null", "-n", NUMBER, "--keep"):
            pid = devices()[NUMBER]["server_pid"]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: process_ended(pid), "the server has ended")
            done = run(ublk.SERVER, "serve", "-n", NUMBER, "-t", "null")
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn("without --recovery", done.stderr)
            self.assertIn(NUMBER, devices())


if __name__ == "__main__":
    ublk.main()
