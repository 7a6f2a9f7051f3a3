# SPDX-License-Identifier: MIT
"""What the tests of probes share: ublk-probe beside a load, and a look at what is attached."""

import json
import os
import pathlib
import signal
import subprocess
import unittest
from typing import Any

import jsonschema

import ublk

PROBE = ublk.BUILD / "bench/tools/ublk-probe"
LOAD = ublk.BUILD / "bench/tools/ublk-load"
long = unittest.skipUnless(ublk.LONG, "takes long")
RUN_SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "bench/record/schema/run.schema.json").read_text())
PROBE_SCHEMA = {"$ref": "#/$defs/probe_document", "$defs": RUN_SCHEMA["$defs"]}
QUICK = ("--ios", "1000", "--warmup", "100", "--verify", "off", "--repeat", "1", "--control", "none")


def attached_programs():
    """Programs and links of the kind that probes have, by kind and number."""
    def shown(what):
        # It fails on one that is just being made.
        return ublk.wait_until(lambda: (done := ublk.run("bpftool", "-j", what, "show")).returncode == 0 and done,
                               f"bpftool shows each {what}").stdout

    return {(what, each["id"]) for what in ("prog", "link") for each in json.loads(shown(what))
            if each["type"] in ("kprobe", "tracing", "kprobe_multi", "raw_tracepoint")}


class Attached:
    """ublk-probe as long as the with block lasts; then .record is what it wrote."""

    def __init__(self, *words, pass_fds=()):
        self.words = words
        self.pass_fds = pass_fds

    def __enter__(self):
        ready, ready_writer = os.pipe()
        with open(ready_writer, "wb"):
            self.process = subprocess.Popen(
                [PROBE, *map(str, self.words), "--json", "-", "--ready-fd", str(ready_writer)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                pass_fds=(ready_writer, *self.pass_fds))
        with open(ready, "rb") as file:
            if not file.read(1):
                raise AssertionError(self.process.communicate()[1])
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, self.errors = self.process.communicate(timeout=ublk.HANG_S)
        self.exit = self.process.returncode
        # Empty: it failed.
        self.record: dict[str, Any] = json.loads(out) if self.exit == 0 else {}
        # The validator is slow with a latency record's slots: Window.test_edges has those.
        if self.record and "latency" not in self.record["probes"]:
            jsonschema.validate(self.record, PROBE_SCHEMA)

    def batch(self, name):
        return self.record["probes"]["batch"][name]

    def latency(self, name):
        return self.record["probes"]["latency"][name]


def load(device, *words):
    ublk.succeed(LOAD, device.path, "--ios", 1500, "--warmup", 100, *words)


class ProbeCase(ublk.TestCase):
    def setUp(self):
        super().setUp()
        self.before = attached_programs()
        # The kernel frees them after a grace period.
        self.addCleanup(ublk.wait_until, lambda: attached_programs() <= self.before, "nothing is left attached")
