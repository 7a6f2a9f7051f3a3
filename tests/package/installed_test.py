#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What apt installed on a Debian that has nothing else of ours: 'scripts/vm package --check' runs this in a guest whose
root that Debian is. Nothing of the clone is used but this file."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import typing
import unittest

PROGRAMS = ("ublkbench", "ublk-server", "ublk-load", "ublk-probe", "ublk-dump", "ublk-report")
HANG_S = 120
UNIT = "ublk-server@7"


def run(*words: object, **options: typing.Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), text=True, capture_output=True, stdin=subprocess.DEVNULL,
                          timeout=HANG_S, **options)


def succeed(*words: object) -> str:
    done = run(*words)
    if done.returncode != 0:
        raise AssertionError(f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition: typing.Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + HANG_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {HANG_S} s for: {what}")
        time.sleep(0.1)


def devices() -> dict[int, dict[str, typing.Any]]:
    return {device["id"]: device for device in json.loads(succeed("ublk-server", "list", "--json"))}


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class Programs(Case):
    def test_are_of_the_package(self) -> None:
        for program in PROGRAMS:
            self.assertEqual(succeed("which", program).strip(), f"/usr/bin/{program}")
            succeed(program, "--version")

    def test_main_job_and_its_report(self) -> None:
        record = self.folder / "run.json"
        table = succeed("ublkbench", "--mode", "batch,auto_zc", "--qd", "128", "--ios", "2k", "--probe", "batch",
                        "--json", record)
        self.assertRegex(table, r"(?m)^batch,auto_zc  batch +5 ")
        succeed("ublkbench", "report", record)
        self.assertIn("batch,auto_zc", record.with_suffix(".html").read_text())

    def test_probe_and_dump(self) -> None:
        number = json.loads(succeed("ublk-server", "add", "-t", "null", "--json"))["id"]
        self.addCleanup(run, "ublk-server", "del", number)
        load = subprocess.Popen(["ublk-load", f"/dev/ublkb{number}", "--runtime", "60s"], stdout=subprocess.DEVNULL)
        self.addCleanup(load.wait)
        self.addCleanup(load.terminate)
        self.assertIn("@fetch_batch:", succeed("ublk-probe", "--dev", number, "--duration", "2s"))
        dump = succeed("ublk-dump", "--dev", number)
        self.assertIn("types from BTF", dump)
        self.assertIn("verdict: nothing is stuck", dump)

    def test_rules_of_udev(self) -> None:
        rules = "/usr/lib/udev/rules.d/60-ublk-owner.rules"
        succeed("udevadm", "verify", rules)
        self.assertIn("'/usr/bin/ublk-server' owner", pathlib.Path(rules).read_text())


class Manual(Case):
    def test_pages(self) -> None:
        for program in PROGRAMS:
            self.assertIn(program, succeed("man", "--pager=cat", program))

    def test_completion_in_bash(self) -> None:
        words = succeed("bash", "-ic", """
            source /usr/share/bash-completion/bash_completion
            _comp_load ublkbench 2>/dev/null || __load_completion ublkbench
            COMP_WORDS=(ublkbench cal) COMP_CWORD=1 COMP_LINE='ublkbench cal' COMP_POINT=13
            $(complete -p ublkbench | sed 's/.*-F \\([^ ]*\\) .*/\\1/') ublkbench cal ublkbench
            printf '%s\\n' "${COMPREPLY[@]}" """)
        self.assertEqual(words.split(), ["calibrate"])


class Service(Case):
    """systemd as the first process of a PID namespace of its own; the guest's is not systemd."""

    def systemctl(self, *words: object) -> str:
        return succeed("nsenter", "--target", self.systemd, "--pid", "--mount", "systemctl", *words)

    def state(self) -> str:
        return run("nsenter", "--target", self.systemd, "--pid", "--mount", "systemctl", "is-system-running").stdout.strip()

    def setUp(self) -> None:
        super().setUp()
        outer = subprocess.Popen(
            ["unshare", "--fork", "--pid", "--mount", "--mount-proc", "--cgroup", "--kill-child", "/lib/systemd/systemd"],
            env={"container": "lxc", "PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(outer.wait)
        self.addCleanup(outer.kill)
        wait_until(lambda: run("pgrep", "-P", outer.pid).stdout, "systemd starts")
        self.systemd = run("pgrep", "-P", outer.pid).stdout.strip()
        wait_until(lambda: self.state() in ("running", "degraded"), "systemd is up")
        (self.folder / "disk.img").touch()
        os.truncate(self.folder / "disk.img", 64 << 20)
        config = pathlib.Path("/etc/ublkbench/ublk7.conf")
        config.parent.mkdir(exist_ok=True)
        config.write_text(f"UBLK_SERVER_OPTIONS=-m auto_zc -t loop:{self.folder}/disk.img\n")
        self.addCleanup(config.parent.rmdir)
        self.addCleanup(config.unlink)

    def test_serves_over_the_death_of_its_server(self) -> None:
        self.systemctl("start", UNIT)
        self.assertEqual(devices()[7]["state"], "LIVE")
        load = subprocess.Popen(["ublk-load", "/dev/ublkb7", "--verify", "--destructive", "--verify-size", "0",
                                 "--verify-writes", "60000", "--json", "-"], text=True, stdout=subprocess.PIPE)
        self.addCleanup(load.kill)
        for _death in range(2):
            time.sleep(1)
            killed = devices()[7]["server_pid"]
            os.kill(killed, signal.SIGKILL)
            self.assertIsNone(load.poll(), "it was killed under load")
            wait_until(lambda: devices()[7]["state"] == "LIVE" and devices()[7]["server_pid"] not in (killed, -1),
                       "the unit serves the device again")
        report = json.loads(load.communicate(timeout=HANG_S)[0])["verify"]
        self.assertTrue(report["passed"], report)
        self.assertEqual((report["errors"], report["failures"]), (0, []))
        self.assertGreaterEqual(report["writes"], 60000)
        self.assertIn("active", self.systemctl("is-active", UNIT))
        self.systemctl("stop", UNIT)
        self.assertNotIn(7, devices())


class WhenPurged(Case):
    """Last by its name."""

    def test_nothing_is_left(self) -> None:
        self.assertIn("ublkbench", succeed("dpkg", "--listfiles", "ublkbench"))
        succeed("dpkg", "--purge", "ublkbench")
        left = [path for folder in ("/usr", "/etc", "/var", "/opt") for path in pathlib.Path(folder).rglob("*ublk*")]
        # The kernel's own, and what dpkg and apt remember of every package.
        own = ("/usr/lib/modules/", "/usr/include/linux/", "/var/lib/dpkg/", "/var/log/", "/var/cache/", "/var/lib/apt/")
        self.assertEqual([str(path) for path in left if not str(path).startswith(own)], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
