#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The three dumps of the seed notes as memory: recordings with the members written over that their authors printed.

Unlike the documents of test_dump_rules.py these go through the whole program, decoding included.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import dump_paths

dump_paths.need("jsonschema", "drgn")

import jsonschema  # noqa: E402
from synthetic import Snapshot  # noqa: E402

MINUTE_NS = 60 * 10**9


class Seeds(unittest.TestCase):
    def verdict(self, snapshot):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "synthetic.xz"
            snapshot.write(path)
            done = subprocess.run([sys.executable, str(dump_paths.DUMP), "--replay", str(path), "--json"],
                                  capture_output=True, text=True, timeout=120)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        document = json.loads(done.stdout)
        jsonschema.validate(document, json.loads(dump_paths.SCHEMA.read_text()))
        self.assertEqual(document["errors"], [])
        return document["devices"][0], {row["code"]: row for row in document["findings"]}

    def test_generic_004_requests_idle_under_abort(self):
        """QUIESCED, force_abort and canceling true, io flags 80000001 and 6, requests IDLE."""
        def change(memory):
            queue, device = memory.queue(), memory.device
            taken = [tag for tag in range(queue.need("q_depth")) if memory.io(queue, tag).need("flags") & 2]
            self.assertEqual(len(taken), 2)
            requests = [memory.request(0, tag) for tag in taken]
            memory.set(device, dev_info__state=2, state=2, canceling=1)
            memory.set(queue, force_abort=1, canceling=1)
            for tag, flags in zip(taken, (0x80000001, 0x6)):
                memory.set(memory.io(queue, tag), flags=flags)
            for request in requests:
                memory.set(request, state=0, start_time_ns=memory.sample["now_ns"] - MINUTE_NS)
            memory.put_on_requeue_list(*requests)
            memory.set(memory.request_queue(), mq_freeze_depth=1)

        device, found = self.verdict(Snapshot(dump_paths.RECORDINGS / "slow-bad.xz").each(change))
        self.assertEqual(device["state"], "QUIESCED")
        self.assertEqual({tuple(io["flags"]) for io in device["queues"][0]["ios"] if io["place"] == "requeued"},
                         {("ACTIVE", "CANCELED"), ("OWNED_BY_SRV", "ABORTED")})
        self.assertEqual(found["WAITS_RECOVERY"]["severity"], "hang")
        self.assertEqual(len(found["WAITS_RECOVERY"]["tags"]), 2)

    def test_blktests_002_endless_cancel(self):
        """LIVE, freeze depth 1, canceling 0; the io is OWNED_BY_SRV, and io_uring_try_cancel_requests() loops."""
        def change(memory):
            queue = memory.queue()
            memory.set(memory.device, canceling=0)
            memory.set(queue, canceling=0)
            memory.set(memory.io(queue, 3), flags=2, req=memory.request(0, 3).address,
                       ref__refs__counter=0x3FFFFFFF)
            memory.set(memory.request_queue(), mq_freeze_depth=1)

        device, found = self.verdict(Snapshot(dump_paths.RECORDINGS / "cancel_livelock-bad.xz").each(change))
        self.assertEqual(device["disk"]["queue"]["freeze_depth"], 1)
        self.assertIn("canceling False", " ".join(found["ENDLESS_CANCEL"]["evidence"]))
        self.assertNotIn("CANCEL_LIVELOCK", found)
        self.assertNotIn("CHARDEV_HELD", found)

    def test_lost_task_work(self):
        """LIVE, quiesce depth 1, canceling True; idle tags canceled, others IN_FLIGHT and ACTIVE; the server sleeps."""
        def change(memory):
            device, queue, kernel = memory.device, memory.queue(1), memory.kernel
            (tag,) = [tag for tag in range(queue.need("q_depth")) if (request := memory.request(1, tag)) and memory.in_flight(request)]
            io = memory.io(queue, tag)
            daemon = kernel.view("task_struct", io.need("task"))
            memory.sleeps_in(daemon, "io_cqring_wait")
            memory.set(device, canceling=1)
            memory.set(queue, canceling=1)
            for other in (tag + 1, tag + 2):
                memory.set(memory.io(queue, other), flags=0x80000001)
            memory.set(memory.request_queue(), quiesce_depth=1)
            ring = kernel.view("io_ring_ctx", kernel.view("io_kiocb", io.need("cmd")).need("ctx"))
            memory.set(ring, work_list__tail=ring.place("work_list.stub"))
            self.tag = tag

        device, found = self.verdict(Snapshot(dump_paths.RECORDINGS / "stopped-kublk.xz").each(change))
        self.assertEqual(device["queues"][1]["summary"]["canceled"], 2)
        self.assertEqual(found["TASK_WORK_LOST"]["tags"], [self.tag])
        self.assertEqual(found["TASK_WORK_LOST"]["severity"], "defect")
        self.assertIn("canceling is True", " ".join(found["TASK_WORK_LOST"]["evidence"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
