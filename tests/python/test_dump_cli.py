#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command line: what --record implies, and that no missing part of the machine keeps the verdict back."""

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import dump_paths

dump_paths.need("jsonschema", "drgn")

import jsonschema  # noqa: E402

from ublk_drgn import attach, cli, recording  # noqa: E402
from ublk_drgn.errors import CannotRead  # noqa: E402

NEVER_COMMITS = dump_paths.RECORDINGS / "never_commits-bad.xz"
BUSY = "ffff8881 {.op=READ, .cmd_flags=SYNC, .rq_flags=STARTED, .state=in_flight, .tag=3, .internal_tag=-1}\n"
# The program itself, on folders of ours instead of /sys and /proc. -I -S: as on a machine without python3-drgn.
WITHOUT_DRGN = """
import pathlib, sys
root, path, *words = sys.argv[1:]
sys.path.insert(0, path)
from ublk_drgn import cli, fallback, processes
fallback.SYS_BLOCK, fallback.DEBUGFS, processes.PROC = (pathlib.Path(root) / name for name in ("block", "debug", "proc"))
sys.exit(cli.main("ublk-dump", words))
"""


def main(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main("ublk-dump", list(map(str, words)))
    return code, out.getvalue(), err.getvalue()


class Record(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.asked = []

    def live(self, btf=True):
        """Attaches to a recording as if it were the machine; without BTF it has DWARF only."""
        def attach_live(types, _btf, _dwarf):
            self.asked.append(types)
            if types == "btf" and not btf:
                raise CannotRead("open", "/sys/kernel/btf/vmlinux", "No such file or directory (errno 2)")
            samples = recording.Replay(str(NEVER_COMMITS))
            samples.select(0)
            if not btf:
                samples.kernel.finder = None
            self.enterContext(unittest.mock.patch.object(samples.kernel.memory, "forget"))
            return samples.kernel
        return unittest.mock.patch.object(attach, "attach_live", attach_live)

    def test_takes_types_from_btf_where_debug_packages_are_installed(self):
        path = self.folder / "hang.xz"
        with self.live():
            code, out, err = main("--record", path, "--interval", "0")
        self.assertEqual((self.asked, code, err), (["btf"], 1, ""))
        self.assertIn("SERVER_HOLDS_IO", out)
        self.assertEqual(main("--replay", path)[0], 1)
        self.assertEqual(json.loads(json.dumps(recording.load(str(path))))["looks_at"], 2)

    def test_without_it_the_choice_is_as_before(self):
        with self.live():
            main("--interval", "0")
        self.assertEqual(self.asked, ["auto"])

    def test_dwarf_is_refused_by_name(self):
        for words in (("--types", "dwarf"), ("--dwarf", "vmlinux")):
            code, out, err = main("--record", self.folder / "hang.xz", *words)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1))
            self.assertIn("types from BTF", err)

    def test_kernel_without_btf_gives_a_verdict_and_no_recording(self):
        with self.live(btf=False):
            code, out, err = main("--record", self.folder / "hang.xz", "--interval", "0")
        self.assertEqual((self.asked, code, err), (["btf", "dwarf"], 1, ""))
        self.assertIn("SERVER_HOLDS_IO", out)
        self.assertIn("no recording in", out)

    def test_full_disk_keeps_no_verdict_back(self):
        def full(_path, _data):
            raise OSError(28, "No space left on device")

        with self.live(), unittest.mock.patch.object(recording, "replace_file", full):
            code, out, err = main("--record", self.folder / "hang.xz", "--interval", "0")
        self.assertEqual((code, err), (1, ""))
        self.assertIn("SERVER_HOLDS_IO", out)
        self.assertIn("No space left on device (errno 28)", out)


class WithoutDrgn(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        hctx = self.root / "debug/ublkb0/hctx0"
        for folder in (self.root / "block/ublkb0", hctx, self.root / "proc"):
            folder.mkdir(parents=True)
        (self.root / "block/ublkb0/inflight").write_text("       1        0\n")
        (hctx / "busy").write_text(BUSY)

    def dump(self, *words):
        return subprocess.run([sys.executable, "-I", "-S", "-c", WITHOUT_DRGN, str(self.root), str(dump_paths.DUMP.parent),
                               *map(str, words)], capture_output=True, text=True, timeout=120)

    def test_says_what_the_kernel_shows_and_what_to_install(self):
        done = self.dump()
        self.assertEqual((done.returncode, done.stderr), (4, ""))
        self.assertIn("verdict: no verdict without the kernel's memory: ublkb0 has 1 request(s) taken", done.stdout)
        self.assertIn("install the package python3-drgn", done.stdout)
        self.assertNotIn("nothing is stuck", done.stdout)

    def test_json_and_the_first_command_of_the_guide(self):
        done = self.dump("--json", "--dev", "0", "--record", self.root / "hang.xz")
        document = json.loads(done.stdout)
        jsonschema.validate(document, json.loads(dump_paths.SCHEMA.read_text()))
        self.assertEqual((done.returncode, document["verdict"]["state"]), (4, "unknown"))
        self.assertIn("no recording in", document["errors"][1])

    def test_nothing_of_ublk_is_one_line(self):
        (self.root / "block/ublkb0/inflight").unlink()
        (self.root / "block/ublkb0").rmdir()
        done = self.dump()
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (3, "", 1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
