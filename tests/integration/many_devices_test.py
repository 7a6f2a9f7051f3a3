#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many devices of one server process: add --devices."""

import glob
import json
import mmap
import os
import pathlib
import signal

import clients
import ublk
from ublk import LONG, devices, run, succeed, wait_until

MODES = ("copy", "batch,auto_zc") if not LONG else (
    "copy", "get_data", "user_copy", "zc", "auto_zc", "mixed:64k", "batch", "batch,user_copy",
    "batch,zc", "batch,auto_zc")
COUNT = 64 if LONG else 8


def threads(pid):
    names = (pathlib.Path(path).read_text().strip() for path in glob.glob(f"/proc/{pid}/task/*/comm"))
    return sorted(name for name in names if name.startswith("ublk-d"))


def holds(pid, number):
    """What a process has open or mapped of device `number`, removed or not."""
    name = f"/dev/ublkc{number}"
    links = [os.readlink(link) for link in glob.glob(f"/proc/{pid}/fd/*") if os.path.islink(link)]
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
    mapped = [line.split(maxsplit=5)[-1] for line in maps]
    return [path.strip() for path in links + mapped if path.split(" ")[0].strip() == name]


def write_name(number):
    with open(f"/dev/ublkb{number}", "r+b", buffering=0) as disk:
        disk.write(b"%8d" % number * 512)
        os.fsync(disk.fileno())


def read_name(number):
    """Past the page cache, and without a process for each."""
    disk = os.open(f"/dev/ublkb{number}", os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as page:
            os.preadv(disk, [page], 0)
            return page[:]
    finally:
        os.close(disk)


class ManyDevices(ublk.TestCase):
    def add(self, *words):
        added = json.loads(succeed(ublk.SERVER, "add", "--json", *words))
        self.addCleanup(self.remove, added["ids"])
        return added

    def remove(self, ids):
        left = sorted(set(ids) & set(devices()))
        if left:
            succeed(ublk.SERVER, "del", "-n", ",".join(map(str, left)))

    def check_names(self, ids):
        for number in ids:
            self.assertEqual(read_name(number), b"%8d" % number * 512)

    def test_each_has_its_own_data_in_one_thread(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                added = self.add("-m", mode, "-t", "mem:1M", "-d", 16, "--devices", COUNT)
                ids, server = added["ids"], added["server_pid"]
                self.assertEqual(len(set(ids)), COUNT)
                self.assertEqual(threads(server), ["ublk-d0"])
                listed = devices()
                self.assertEqual({listed[number]["server_pid"] for number in ids}, {server})
                for number in ids:
                    write_name(number)
                self.check_names(ids)
                self.remove(ids)
                wait_until(lambda: ublk.process_ended(server), "the server ended with its last device")

    def test_one_goes_while_the_others_serve(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                added = self.add("-m", mode, "-t", "mem:4M", "-q", 2, "--devices", 5,
                                 "--daemons", 3)
                ids, server = added["ids"], added["server_pid"]
                self.assertEqual(threads(server), ["ublk-d0", "ublk-d1", "ublk-d2"])
                load = clients.fio(f"/dev/ublkb{ids[0]}", "--size=2M", runtime_s=3)
                for number in ids[1:]:
                    write_name(number)
                self.assertNotEqual(holds(server, ids[1]), [])
                for verb, number in (("del", ids[1]), ("stop", ids[2])):
                    succeed(ublk.SERVER, verb, "-n", number)
                    wait_until(lambda gone=number: gone not in devices(), "removed by its supervisor")
                    self.assertEqual(holds(server, number), [])
                # Its number is free for a stranger, whom nobody takes away with the rest.
                with ublk.Device("-t", "null", "-n", ids[1]):
                    output, _ = load.communicate(timeout=ublk.HANG_S)
                    self.assertEqual(load.returncode, 0, output)
                    self.check_names(ids[3:])
                    self.remove([number for number in ids if number != ids[1]])
                    wait_until(lambda: ublk.process_ended(server), "server ended")
                    self.assertEqual(devices()[ids[1]]["state"], "LIVE")

    def test_numbers_in_file_names(self):
        with ublk.scratch_folder() as folder:
            files = [ublk.sparse_file(folder, f"disk{number}", 1 << 20) for number in range(3)]
            added = self.add("-t", f"loop:{folder}/disk%i", "--devices", 3)
            for number in added["ids"]:
                write_name(number)
            self.remove(added["ids"])
            for number, file in zip(added["ids"], files):
                self.assertEqual(file.read_bytes()[:8], b"%8d" % number)

            refused = run(ublk.SERVER, "add", "-t", f"loop:{files[0]}", "--devices", 2)
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("%i", refused.stderr)
            self.assertEqual(refused.stderr.count("\n"), 1, refused.stderr)

    def test_all_go_with_their_server_or_supervisor(self):
        for who, how in (("server", signal.SIGKILL), ("owner", signal.SIGTERM)):
            with self.subTest(killed=who):
                added = self.add("-t", "null", "--devices", 8, "--daemons", 2)
                first = devices()[added["ids"][0]]
                os.kill(first[f"{who}_pid"], how)
                wait_until(lambda: not set(added["ids"]) & set(devices()), "all removed")
                self.assertTrue(ublk.process_ended(first["server_pid"]))


if __name__ == "__main__":
    ublk.main()
