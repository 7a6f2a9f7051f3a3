#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The dump without the kernel's memory, on folders made by hand: what cannot be read is not told as nothing."""

import pathlib
import tempfile
import unittest
import unittest.mock

import dump_paths  # noqa: F401  (finds the package)

from ublk_drgn import fallback, processes

BUSY = "ffff8881 {.op=READ, .cmd_flags=SYNC, .rq_flags=STARTED, .state=in_flight, .tag=3, .internal_tag=-1}\n"


class Fallback(unittest.TestCase):
    def dump(self, busy):
        """Of one disk with one I/O in flight; `busy` None: debugfs refuses to be read."""
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            hctx = root / "debug/ublkb0/hctx0"
            for folder in (root / "block/ublkb0", hctx, root / "proc"):
                folder.mkdir(parents=True)
            (root / "block/ublkb0/inflight").write_text("       1        0\n")
            if busy is None:
                (hctx / "busy").mkdir()  # any error will do: root may read what others may not
            else:
                (hctx / "busy").write_text(busy)
                (root / "debug/ublkb0/requeue_list").write_text("")
            with unittest.mock.patch.object(fallback, "SYS_BLOCK", root / "block"), \
                    unittest.mock.patch.object(fallback, "DEBUGFS", root / "debug"), \
                    unittest.mock.patch.object(processes, "PROC", root / "proc"):
                return fallback.without_memory("open /proc/kcore: no", None)

    def test_requests_of_debugfs(self):
        dump = self.dump(BUSY)
        self.assertIn("ublkb0 has 1 request(s) taken and 0 requeued", dump.verdict.line)
        self.assertIn("  hctx0: tag 3 READ in_flight", list(fallback.render(dump)))

    def test_what_debugfs_hides_is_not_zero(self):
        self.assertIsNone(self.dump(None))  # nothing that concerns ublk can be read
        opener = {"pid": 7, "comm": "server", "opens": ["/dev/ublkc0"], "threads": [], "rings": [],
                  "frozen_cgroup": None}
        with unittest.mock.patch.object(fallback, "concerned", lambda only: [opener]):
            dump = self.dump(None)
        self.assertIn("ublkb0 has 1 I/O(s) in flight, and its requests cannot be read", dump.verdict.line)
        self.assertNotIn("taken", dump.verdict.line)
        self.assertIn("requests cannot be read", "\n".join(fallback.render(dump)))

    def test_frozen_cgroup(self):
        with tempfile.TemporaryDirectory() as name:
            folder, root = pathlib.Path(name) / "proc/7", pathlib.Path(name) / "cgroup"
            folder.mkdir(parents=True)
            (root / "paused").mkdir(parents=True)
            (folder / "cgroup").write_text("12:freezer:/\n0::/paused\n")
            with unittest.mock.patch.object(processes, "CGROUPS", root):
                for frozen, expected in (("1", "/paused"), ("0", None)):
                    (root / "paused/cgroup.events").write_text(f"populated 1\nfrozen {frozen}\n")
                    self.assertEqual(processes.frozen_cgroup(folder), expected)
        process = {"pid": 7, "comm": "server", "opens": ["/dev/ublkc0"], "threads": [], "rings": [], "frozen_cgroup": "/paused"}
        self.assertIn("is frozen by its cgroup /paused", " ".join(processes.remark(process)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
