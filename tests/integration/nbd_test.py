#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The NBD client against servers that are not ours: nbdkit and qemu-nbd."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import ublk
from ublk import Device, run, succeed, wait_until
from zeroes_test import read_direct, write_direct

MODES = ("copy", "get_data", "user_copy", "zc", "auto_zc", "batch", "batch,auto_zc", "batch,zc",
         "copy,offload", "zc,offload") if ublk.LONG else ("copy", "zc", "batch,auto_zc", "zc,offload")
PORT = 10899


@contextlib.contextmanager
def server(*argv, ready):
    """An NBD server in the foreground; ended with the with block."""
    process = subprocess.Popen([str(word) for word in argv], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        wait_until(lambda: process.poll() is not None or ready(), f"{argv[0]} listens")
        if process.poll() is not None:
            raise AssertionError(f"{argv[0]}: {process.stderr.read()}")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def listens(port):
    return f":{port:04X} 00000000:0000 0A" in pathlib.Path("/proc/net/tcp").read_text() or \
        f":{port:04X} 00000000000000000000000000000000:0000 0A" in \
        pathlib.Path("/proc/net/tcp6").read_text()


def nbdkit(folder, *plugin):
    socket = pathlib.Path(folder) / "nbdkit"
    return server("nbdkit", "-f", "-U", socket, *plugin, ready=socket.is_socket), f"nbd:unix:{socket}"


def verify(device, *options):
    """A few hundred I/Os of all sizes: a server that copies on an emulated CPU is slow."""
    succeed("fio", "--name=verify", f"--filename={device.path}", "--rw=randwrite", "--bsrange=4k-256k",
            "--size=4M", "--direct=1", "--ioengine=io_uring", "--iodepth=16", "--thread",
            "--randseed=1", "--verify=crc32c", "--verify_state_save=0", *options)


def need(program):
    return unittest.skipUnless(shutil.which(program), f"no {program}")


class Nbd(ublk.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        run("ip", "link", "set", "lo", "up")

    @need("nbdkit")
    def test_nbdkit_over_a_unix_socket_in_every_mode(self):
        serving, target = nbdkit(self.folder, "memory", "64M")
        with serving:
            for mode in MODES:
                with self.subTest(mode=mode), Device("-m", mode, "-t", target) as device:
                    self.assertEqual(device.queue("write_cache"), "write back")
                    verify(device)

    @need("nbdkit")
    def test_nbdkit_over_tcp_with_two_queues(self):
        with server("nbdkit", "-f", "-p", PORT, "-i", "127.0.0.1", "memory", "64M",
                    ready=lambda: listens(PORT)):
            for mode in ("copy", "batch,auto_zc"):
                with self.subTest(mode=mode), \
                        Device("-m", mode, "-t", f"nbd:127.0.0.1:{PORT}", "-q", 2) as device:
                    verify(device)

    @need("qemu-nbd")
    def test_qemu_nbd_serves_an_image_by_name(self):
        image = self.folder / "image.qcow2"
        succeed("qemu-img", "create", "-q", "-f", "qcow2", image, "64M")
        socket = self.folder / "qemu"
        # Without -t it ends with its first client: the one that asks for the size must be the one
        # that does the I/O.
        for mode in ("copy", "zc"):
            with self.subTest(mode=mode), \
                    server("qemu-nbd", "-f", "qcow2", "-x", "disk", "-k", socket, "--discard=unmap",
                           image, ready=socket.is_socket) as process:
                with Device("-m", mode, "-t", f"nbd:unix:{socket}/disk") as device:
                    verify(device, "--fsync=8")
                    pattern = os.urandom(4096) * 16
                    self.assertEqual(write_direct(device.path, 1 << 20, pattern), 65536)
                    if int(device.queue("discard_max_bytes")) > 0:
                        succeed("blkdiscard", "-f", "-z", "-o", 1 << 20, "-l", 4096, device.path)
                        self.assertTrue(read_direct(device.path, 1 << 20, 65536) ==
                                        bytes(4096) + pattern[4096:])
                process.wait(timeout=ublk.HANG_S)
                socket.unlink(missing_ok=True)

    @need("nbdkit")
    def test_flags_of_the_export_are_those_of_the_disk(self):
        serving, target = nbdkit(self.folder, "-r", "memory", "64M")
        with serving, Device("-t", target) as device:
            self.assertEqual(pathlib.Path(f"/sys/block/ublkb{device.id}/ro").read_text(), "1\n")
            self.assertEqual(len(read_direct(device.path, 0, 4096)), 4096)

    @need("nbdkit")
    def test_the_servers_errors_reach_the_client(self):
        serving, target = nbdkit(self.folder, "--filter=error", "memory", "64M", "error-pwrite=ENOSPC",
                                 "error-pwrite-rate=100%")
        with serving, Device("-t", target) as device:
            with self.assertRaises(OSError) as caught:
                write_direct(device.path, 0, bytes(4096))
            self.assertEqual(caught.exception.errno, errno.ENOSPC)
            self.assertEqual(len(read_direct(device.path, 0, 4096)), 4096)

    @need("nbdkit")
    def test_a_server_that_dies_fails_its_clients_and_hangs_nobody(self):
        for mode in ("copy", "zc", "batch,auto_zc"):
            with self.subTest(mode=mode):
                serving, target = nbdkit(self.folder, "memory", "64M")
                with serving as process, Device("-m", mode, "-t", target) as device:
                    client = subprocess.Popen(
                        ["fio", "--name=load", f"--filename={device.path}", "--rw=randrw", "--bs=16k",
                         "--direct=1", "--ioengine=io_uring", "--iodepth=16", "--time_based",
                         "--runtime=60", "--thread", "--allow_file_create=0"],
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                    stat = pathlib.Path(f"/sys/block/ublkb{device.id}/stat")
                    wait_until(lambda: int(stat.read_text().split()[0]) > 100, "fio has read")
                    process.kill()
                    output, _ = client.communicate(timeout=ublk.HANG_S)
                    self.assertNotEqual(client.returncode, 0, output)
                    self.assertIn("Link has been severed", output)
                    with self.assertRaises(OSError) as caught:
                        read_direct(device.path, 0, 4096)
                    self.assertEqual(caught.exception.errno, errno.ENOLINK)
                    self.assertEqual(ublk.devices()[device.id]["state"], "LIVE")
                (self.folder / "nbdkit").unlink(missing_ok=True)

    @need("nbdkit")
    def test_a_server_that_stops_while_requests_wait(self):
        serving, target = nbdkit(self.folder, "--filter=delay", "memory", "64M", "rdelay=600")
        with serving as process, Device("-t", target, "--no-partition-scan") as device:
            client = subprocess.Popen(["dd", f"if={device.path}", "of=/dev/null", "bs=4k", "count=1",
                                       "iflag=direct"], stderr=subprocess.PIPE, text=True)
            time.sleep(1)
            self.assertIsNone(client.poll())
            process.send_signal(signal.SIGKILL)
            _, said = client.communicate(timeout=ublk.HANG_S)
            self.assertIn("Link has been severed", said)

    @need("qemu-nbd")
    def test_a_second_connection_needs_the_servers_promise(self):
        image = ublk.sparse_file(self.folder, "image", 64 << 20)
        socket = self.folder / "qemu"
        with server("qemu-nbd", "-f", "raw", "-t", "-k", socket, image, ready=socket.is_socket):
            done = run(ublk.SERVER, "add", "-q", 2, "-t", f"nbd:unix:{socket}")
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, "NBD_FLAG_CAN_MULTI_CONN|does not answer the handshake")

    @need("nbdkit")
    def test_counters_are_in_the_record(self):
        serving, target = nbdkit(self.folder, "memory", "64M")
        with serving:
            record = self.folder / "record.json"
            succeed(ublk.UBLKBENCH, "--mode", "copy", "--target", target, "--qd", 32, "--ios", 4000,
                    "--repeat", 1, "--control", "none", "--json", record)
            rows = json.loads(record.read_text())["samples"]
            found = list(find(rows, "chained_send_ios"))
            self.assertTrue(found, rows)
            self.assertGreater(max(found), 0)
            self.assertTrue(list(find(rows, "in_flight_ios")))
            self.assertTrue(list(find(rows, "send_sqe_chain_busy")))

    def test_words_that_lead_nowhere(self):
        for words, says in (("nbd:localhost:1", "localhost:1: Connection refused; is it running"),
                            ("nbd:unix:/none/such", "no such socket; start the server first"),
                            ("nbd:localhost", "give nbd:HOST:PORT/NAME")):
            done = run(ublk.SERVER, "add", "-t", words)
            self.assertIn(done.returncode, (2, 5))
            self.assertIn(says, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)


def find(value, key):
    """All values of `key`, however deep."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for inner in value.values():
            yield from find(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from find(inner, key)


if __name__ == "__main__":
    ublk.main()
