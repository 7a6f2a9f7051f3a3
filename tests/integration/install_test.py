#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cmake --install into a folder with a space in its name; the programs find each other there when the clone is gone."""

import pathlib
import tempfile

import ublk
from ublk import run, succeed

CLONE = pathlib.Path(__file__).resolve().parents[2]


class Install(ublk.TestCase):
    def test_programs_run_without_the_clone(self):
        with tempfile.TemporaryDirectory(prefix="a place ") as folder:
            prefix = pathlib.Path(folder) / "usr local"
            succeed("cmake", "--install", ublk.BUILD, "--prefix", prefix)

            def alone(*words):
                """With nothing where the clone is, in a mount namespace of its own."""
                done = run("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && cd / && exec "$@"', CLONE, *words,
                           timeout_s=300)
                self.assertEqual(done.returncode, 0, (words, done.stdout, done.stderr))
                return done.stdout

            programs = {path.name: path for path in (prefix / "bin").iterdir()}
            self.assertEqual(set(programs), {"ublkbench", "ublk-server", "ublk-load", "ublk-probe", "ublk-dump", "ublk-report"})
            for path in programs.values():
                alone(path, "--version")
            record = pathlib.Path(folder) / "run.json"
            table = alone(programs["ublkbench"], "--mode", "copy", "--ios", "500", "--repeat", "1", "--probe", "batch",
                          "--json", record)
            self.assertIn("fetch_batch", table)
            alone(programs["ublkbench"], "report", record)
            self.assertIn("copy", record.with_suffix(".html").read_text())
            self.assertIn("verdict: nothing is stuck", alone(programs["ublk-dump"]))
            pages = {path.name for path in (prefix / "share/man").glob("man?/*.gz")}
            self.assertLessEqual({"ublkbench.1.gz", "ublk-dump.1.gz", "ublkbench-record.5.gz", "ublkbench-modes.7.gz"}, pages)
            for shell in ("bash-completion/completions/ublkbench", "zsh/vendor-completions/_ublkbench",
                          "fish/vendor_completions.d/ublkbench.fish"):
                self.assertTrue((prefix / "share" / shell).is_file(), shell)
            unit = (prefix / "lib/systemd/system/ublk-server@.service").read_text()
            self.assertIn(f'ExecStart="{prefix}/bin/ublk-server" serve', unit)
            rules = (prefix / "lib/udev/rules.d/60-ublk-owner.rules").read_text()
            self.assertIn(f"'{prefix}/bin/ublk-server' owner", rules)


if __name__ == "__main__":
    ublk.main()
