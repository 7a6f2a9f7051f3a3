# SPDX-License-Identifier: MIT
"""Clients that keep a device busy while its server comes and goes, and know what it ought to hold."""

import json
import mmap
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import threading
import time

import ublk

LOAD = ublk.BUILD / "bench/tools/ublk-load"
VERIFIED_BYTES = 8 << 20  # from the device's start; what the recorder writes is behind it


class VerifyingLoad:
    """ublk-load --verify on the first bytes of a device, again and again until stop()."""

    def __init__(self, path, writes=1500, seed=1):
        self.path, self.writes, self.seed = path, writes, seed
        self.reports = []
        self.failure = None
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.run_until_stopped()
        except Exception as error:  # pylint: disable=broad-except # in a thread, where nobody sees it
            self.failure = repr(error)

    def run_until_stopped(self):
        while not self.stopping.is_set() or not self.reports:
            with tempfile.NamedTemporaryFile(prefix="ublkbench.", suffix=".json") as file:
                done = ublk.run(LOAD, self.path, "--verify", "--destructive", "--verify-size",
                                VERIFIED_BYTES, "--verify-writes", self.writes, "--hang-timeout",
                                "60s", "--seed", self.seed, "--json", file.name)
                self.seed += 1
                text = pathlib.Path(file.name).read_text()
            if not text:
                self.failure = f"ublk-load: exit {done.returncode}\n{done.stdout}{done.stderr}"
                return
            self.reports.append(json.loads(text)["verify"])

    def stop(self):
        """Waits for the run under way, which reads everything back; the reports."""
        self.stopping.set()
        self.thread.join(timeout=ublk.HANG_S)
        if self.thread.is_alive():
            raise AssertionError("ublk-load does not end: the device hangs")
        if self.failure:
            raise AssertionError(self.failure)
        return self.reports


class Recorder:
    """Writes blocks behind the verified bytes, each made durable by fsync() before it is recorded.

    The record is what a client may rely on: a block holds the last recorded write or a later one.
    """

    BLOCK = 4096
    BLOCKS = 256

    def __init__(self, path, seed=1):
        self.file = os.open(path, os.O_RDWR)
        self.durable = {}  # block: number of the last write that fsync() acknowledged
        self.begun = {}    # block: number of the last write that was started
        self.errors = 0
        self.random = random.Random(seed)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def offset(self, block):
        return VERIFIED_BYTES + block * self.BLOCK

    def run(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            block = self.random.randrange(self.BLOCKS)
            self.begun[block] = number
            try:
                os.pwrite(self.file, struct.pack("<QQ", block, number) * (self.BLOCK // 16),
                          self.offset(block))
                os.fsync(self.file)
                self.durable[block] = number
            except OSError:
                self.errors += 1
                time.sleep(0.001)

    def stop(self):
        self.stopping.set()
        self.thread.join(timeout=ublk.HANG_S)
        if self.thread.is_alive():
            raise AssertionError("fsync() does not return: the device hangs")
        os.close(self.file)

    def faults(self, path):
        """What a file or device does not hold as promised; it is read past the page cache."""
        found = []
        with open(os.open(path, os.O_RDONLY | os.O_DIRECT), "rb", buffering=0) as file, \
                mmap.mmap(-1, self.BLOCK) as block:
            for index, durable in sorted(self.durable.items()):
                file.seek(self.offset(index))
                file.readinto(block)
                place, number = struct.unpack_from("<QQ", block)
                whole = block[:] == struct.pack("<QQ", place, number) * (self.BLOCK // 16)
                if not whole or place != index or not durable <= number <= self.begun[index]:
                    found.append(f"block {index}: {place}/{number}, durable was {durable}")
        return found


def bad_blocks(reports):
    return sum(sum(report["faults"].values()) for report in reports)


def errors(reports):
    return sum(report["errors"] for report in reports)


def fio(device, *words, runtime_s=20, **options):
    """A heavy mixed load in the background."""
    return subprocess.Popen(
        ["fio", "--name=load", f"--filename={device}", "--rw=randrw", "--bs=4k", "--direct=1",
         "--ioengine=io_uring", "--iodepth=64", "--numjobs=2", "--time_based", "--thread",
         f"--runtime={runtime_s}", "--norandommap", "--allow_file_create=0", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
