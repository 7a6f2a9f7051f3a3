#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Verdicts on documents made by hand: classes that Linux 7.3 cannot be brought into, and the seeds' three dumps."""

import copy
import dataclasses
import json
import types
import typing
import unittest

import dump_paths

dump_paths.need("jsonschema", "drgn")

import documents as make  # noqa: E402
import jsonschema  # noqa: E402
from judged import judge, read, render  # noqa: E402
from scrambled import compare  # noqa: E402

from ublk_drgn import verdict  # noqa: E402
from ublk_drgn.catalogue import Entry  # noqa: E402
from ublk_drgn.model import Dump  # noqa: E402


class Rules(unittest.TestCase):
    def findings(self, document, earlier=None):
        compare(self, judge, document, earlier)
        judged = judge(document, earlier)
        jsonschema.validate(judged, json.loads(dump_paths.SCHEMA.read_text()))
        self.assertIn("verdict:", render(judged))
        return judged, {row["code"]: row for row in judged["findings"]}

    def expect(self, code, document, *evidence, severity=None, catalogue=None):
        judged, found = self.findings(document)
        self.assertIn(code, found, found.keys())
        row = found[code]
        for word in evidence:
            self.assertIn(word, " ".join(row["evidence"]))
        if severity:
            self.assertEqual(row["severity"], severity)
        if catalogue:
            self.assertEqual(row["catalogue"], catalogue)
        self.assertEqual(judged["verdict"]["exit_code"], 1 if row["severity"] in ("defect", "hang") else 0)
        return found

    def served(self, *ios, daemon=None, **fields):
        """A device whose server sleeps in its ring."""
        daemon = daemon or make.task()
        for entry in ios:
            entry["task"] = daemon["address"]
        return make.device([make.queue(list(ios))], **fields), daemon, make.ring([daemon["address"]])


class Healthy(Rules):
    def test_idle(self):
        device, daemon, ring = self.served()
        judged, found = self.findings(make.document([device], [daemon], [ring]))
        self.assertEqual((found, judged["verdict"]["state"]), ({}, "nothing stuck"))

    def test_young_request(self):
        device, daemon, ring = self.served(make.io(0, asked=make.request(0, age_s=0.5)))
        self.assertEqual(self.findings(make.document([device], [daemon], [ring]))[1], {})

    def test_request_that_changed_between_the_samples(self):
        device, daemon, ring = self.served(make.io(0))
        first = make.document([device], [daemon], [ring])
        second = copy.deepcopy(first)
        second["devices"][0]["queues"][0]["ios"][0]["request"]["start_time_ns"] = 2
        self.assertEqual(self.findings(second, first)[1], {})
        self.assertIn("SERVER_HOLDS_IO", self.findings(copy.deepcopy(first), first)[1])

    def test_starved_tags_are_no_hang(self):
        device, daemon, ring = self.served()
        device["queues"][0].update(tags_busy=8, tag_waiters=3)
        judged, found = self.findings(make.document([device], [daemon], [ring]))
        self.assertEqual(found["TAG_STARVATION"]["severity"], "info")
        self.assertEqual(judged["verdict"]["exit_code"], 0)

    def test_slow_target(self):
        device, daemon, ring = self.served(make.io(0, asked=make.request(0, age_s=10)))
        ring["inflight"][0]["requests"] = 1
        found = self.expect("TARGET_SLOW", make.document([device], [daemon], [ring]), "1 request(s) of the target",
                            severity="slow")
        self.assertNotIn("SERVER_HOLDS_IO", found)
        device["queues"][0]["ios"][0]["request"]["age_ns"] = 60 * 10**9
        self.expect("TARGET_SLOW", make.document([device], [daemon], [ring]), severity="hang")

    def test_one_request_lost_while_others_go_on(self):
        device, daemon, ring = self.served(make.io(5), make.io(6, asked=make.request(6, age_s=0.01)))
        daemon["state"], daemon["stack"], daemon["waits_in"] = "R", [], None
        first = make.document([device], [daemon], [ring])
        second = copy.deepcopy(first)
        second["rings"][0]["cached_sq_head"] += 500
        second["devices"][0]["queues"][0]["ios"][1]["request"]["start_time_ns"] = 7
        _judged, found = self.findings(second, first)
        self.assertEqual(found["SERVER_HOLDS_IO"]["tags"], [5])
        self.assertIn("goes on with other requests", " ".join(found["SERVER_HOLDS_IO"]["evidence"]))

    def test_stop_in_progress(self):
        worker = make.task("iou-wrk-7", "D", "blk_mq_freeze_queue_wait", pid=8)
        device, daemon, ring = self.served(frozen=1)
        judged, found = self.findings(make.document([device], [daemon, worker], [ring],
                                                    [make.command("STOP_DEV", worker["address"])]))
        self.assertEqual(found["STOP_WAITS_IO"]["severity"], "slow")
        self.assertEqual(judged["verdict"]["exit_code"], 0)


class NotProvoked(Rules):
    """What needs another kernel, or would not be safe to make."""

    def test_h3_task_work_lost(self):
        device, daemon, ring = self.served(make.io(0, "dispatched", ("ACTIVE",)), canceling=True)
        self.expect("TASK_WORK_LOST", make.document([device], [daemon], [ring]), "no task work is pending",
                    severity="defect", catalogue="H3")

    def test_h3_not_if_work_is_pending(self):
        device, daemon, ring = self.served(make.io(0, "dispatched", ("ACTIVE",)))
        ring["task_work_pending"] = True
        found = self.expect("SERVER_NOT_REAPING", make.document([device], [daemon], [ring]))
        self.assertNotIn("TASK_WORK_LOST", found)

    def test_h5_abort_in_the_wrong_order(self):
        entry = make.io(0, "requeued", (), asked=make.request(0, "IDLE"))
        device, daemon, ring = self.served(entry, frozen=1, canceling=True)
        device["queues"][0]["booleans"]["force_abort"] = True
        self.expect("ABORT_ORDER", make.document([device], [daemon], [ring]), "force_abort True", catalogue="H5")

    def test_requeue_list_that_nobody_works_on(self):
        entry = make.io(0, "requeued", ("ACTIVE",), asked=make.request(0, "IDLE"))
        device, daemon, ring = self.served(entry)
        self.expect("REQUEUE_NOT_KICKED", make.document([device], [daemon], [ring]))

    def test_h8_command_that_no_worker_takes(self):
        device, daemon, ring = self.served()
        self.expect("COMMAND_NOT_STARTED", make.document([device], [daemon], [ring], [
            make.command("ADD_DEV", queued=True)]), "ADD_DEV", catalogue="H8")

    def test_h8_not_if_the_process_is_stopped(self):
        device, daemon, ring = self.served()
        daemon["state"] = "T"
        self.expect("COMMAND_NOT_STARTED", make.document([device], [daemon], [ring], [
            make.command("ADD_DEV", queued=True, issuer=daemon["address"])]), "is stopped", severity="info")

    def test_h9_mutex_of_a_dead_task(self):
        dead = make.task("iou-wrk-3", "X", None, [], pid=9)
        device, daemon, ring = self.served()
        self.expect("CONTROL_MUTEX_ORPHAN", make.document([device], [daemon, dead], [ring], control_mutex={
            "address": make.address(), "owner": dead["address"], "waiters": True}), catalogue="H9")

    def test_h10_server_waits_for_open_mutex(self):
        udev = make.task("udevd", "D", "folio_wait_bit_common", pid=50, roles=["client"])
        daemon = make.task("server", "D", "bdev_release", ["mutex_lock+0x1", "bdev_release+0x1", "task_work_run+0x1"],
                           blocked_on={"mutex": make.address(), "owner": udev["address"]})
        device, daemon, ring = self.served(make.io(0), daemon=daemon)
        self.expect("OPEN_MUTEX_DEADLOCK", make.document([device], [daemon, udev], [ring]), "udevd", catalogue="H10")

    def test_h11_exiting_server_flushes_its_own_device(self):
        daemon = make.task("server", "D", "blkdev_issue_flush", ["blkdev_issue_flush+0x1", "cleanup_mnt+0x1",
                                                                 "do_exit+0x1"], flags=["EXITING"])
        for entry in (make.io(0), make.io(0, "requeued", ("ACTIVE", "CANCELED"), asked=make.request(0, "IDLE"))):
            device, daemon, ring = self.served(entry, daemon=daemon)
            self.expect("SERVER_EXIT_FLUSHES", make.document([device], [daemon], [ring]), "cleanup_mnt", catalogue="H11")

    def test_h12_server_in_reclaim(self):
        daemon = make.task("server", "D", "folio_wait_bit_common", ["folio_wait_bit_common+0x1", "shrink_folio_list+0x1",
                                                                    "try_to_free_pages+0x1"])
        device, daemon, ring = self.served(make.io(0), daemon=daemon)
        self.expect("MEMORY_RECLAIM_LOOP", make.document([device], [daemon], [ring]), "PR_SET_IO_FLUSHER is not set",
                    catalogue="H12")

    def test_h12_server_is_its_own_client(self):
        daemon = make.task("server", "D", "bio_await")
        entry = make.io(0, asked=make.request(0, client=daemon["address"]))
        device, daemon, ring = self.served(entry, daemon=daemon)
        self.expect("SERVER_WAITS_FOR_ITSELF", make.document([device], [daemon], [ring]), catalogue="H12")

    def test_h12_server_reads_its_own_device_through_the_page_cache(self):
        daemon = make.task("server", "D", "folio_wait_bit_common", [
            "folio_wait_bit_common+0x1", "filemap_read+0x1", "blkdev_read_iter+0x1", "vfs_read+0x1"])
        device, daemon, ring = self.served(make.io(0), daemon=daemon)
        device["openers"]["block"] = [{"how": "fd", "pid": daemon["pid"], "comm": "server", "fd": 9,
                                       "file": make.address(), "task": daemon["address"], "state": "D"}]
        self.expect("SERVER_WAITS_FOR_ITSELF", make.document([device], [daemon], [ring]), "by fd 9", catalogue="H12")
        device["openers"]["block"][0]["pid"] += 1  # of another process: a server on another block device
        found = self.findings(make.document([device], [daemon], [ring]))[1]
        self.assertNotIn("SERVER_WAITS_FOR_ITSELF", found)

    def test_h14_tags_stranded_in_the_fifo(self):
        entry = make.io(3, "dispatched", ("ACTIVE",))
        device, daemon, ring = self.served(entry, state="DEAD", state_bits=["USED"])
        device["queues"][0].update(fifo={"count": 1, "size": 8, "tags": [3]}, fetch_commands=[])
        self.expect("FIFO_STRANDED", make.document([device], [daemon], [ring]), catalogue="H14")

    def test_h2_release_waits_for_a_reference(self):
        entry = make.io(0, references_out=1, ref=0x40000000, daemon=None)
        device = make.device([make.queue([entry])], ch_file=None, exit_work_pending=True)
        keeper = make.task("keeper", pid=77)
        ring = make.ring([keeper["address"]], buffers=[{
            "slot": 4, "request": entry["request"]["address"], "bytes": 4096, "release": "ublk_io_release",
            "node_refs": 1, "refs": 1}])
        self.expect("RELEASE_WAITS_REFERENCE", make.document([device], [keeper], [ring]), "slot 4", "keeper",
                    catalogue="H2")

    def test_flags_that_are_in_no_table(self):
        device, daemon, ring = self.served(make.io(0, "unknown", ("bit5?",), flags_raw="0x20"))
        _judged, found = self.findings(make.document([device], [daemon], [ring]))
        self.assertIn("0x20", " ".join(found["BROKEN_INVARIANT"]["evidence"]))
        self.assertIn("UNKNOWN", found)

    def test_both_flags(self):
        device, daemon, ring = self.served(make.io(0, flags=("ACTIVE", "OWNED_BY_SRV")))
        self.assertIn("BROKEN_INVARIANT", self.findings(make.document([device], [daemon], [ring]))[1])

    def test_frozen_queue_that_nobody_thaws(self):
        device, daemon, ring = self.served(frozen=1)
        self.expect("QUEUE_FROZEN", make.document([device], [daemon], [ring]), "freeze depth 1", severity="slow")
        reader = make.task("dd", "D", "__bio_queue_enter", pid=70, roles=["waits for a queue to be frozen or thawed"])
        device["disk"]["queue"]["freeze_waiters"] = [reader["address"]]
        self.expect("QUEUE_FROZEN", make.document([device], [daemon, reader], [ring]), "dd (pid 70) has waited for 60.0 s",
                    severity="hang")
        reader["off_cpu_ns"] = 10**8
        self.expect("QUEUE_FROZEN", make.document([device], [daemon, reader], [ring]), severity="slow")

    def test_queue_that_is_being_quiesced(self):
        device, daemon, ring = self.served(quiesced=1)
        quiescer = make.task("server", "D", "synchronize_srcu", ["__synchronize_srcu+0x1", "blk_mq_quiesce_queue+0x1"],
                             pid=101, off_cpu_ns=10**8)
        document = make.document([device], [daemon, quiescer], [ring])
        found = self.expect("QUEUE_QUIESCED", document, "server (pid 101) is quiescing a queue", severity="slow")
        self.assertIn("in progress", found["QUEUE_QUIESCED"]["text"])
        quiescer["off_cpu_ns"] = 60 * 10**9
        self.expect("QUEUE_QUIESCED", document, "server (pid 101) has waited for 60.0 s", severity="hang")

    def test_quiesced_queue_and_who_waits_for_it(self):
        for age_s, severity in ((0.5, "slow"), (60, "hang")):
            device, daemon, ring = self.served(make.io(0, "unknown", (), asked=make.request(0, age_s=age_s)), quiesced=1)
            _judged, found = self.findings(make.document([device], [daemon], [ring]))
            self.assertEqual(found["QUEUE_QUIESCED"]["severity"], severity)
        writer = make.task("kworker/u8:1", "D", "blk_mq_get_tag", pid=70, roles=["blocked"])
        for scheduler, severity in (("none", "slow"), ("mq-deadline", "hang")):
            device, daemon, ring = self.served(quiesced=1)
            device["disk"]["queue"]["elevator"] = scheduler
            self.expect("QUEUE_QUIESCED", make.document([device], [daemon, writer], [ring]), severity=severity)

    def test_device_that_came_anew_between_the_samples(self):
        server, starter = make.task(), make.task("iou-wrk-7", "S", "ublk_ctrl_start_dev", pid=8)
        ring = make.ring([server["address"]])
        for name, pid in (("address", None), ("ublksrv_pid", 300)):
            device = make.device([make.queue([make.io(0)], nr_io_ready=3)], quiesced=1)
            first = make.document([device], [server, starter], [ring], [make.command("START_DEV", starter["address"])])
            self.assertIn("START_WAITS_FETCH", self.findings(copy.deepcopy(first), first)[1])
            self.assertIn("SERVER_HOLDS_IO", self.findings(copy.deepcopy(first), first)[1])
            second = copy.deepcopy(first)
            if pid is None:
                second["devices"][0]["address"] = make.address()
            else:
                second["devices"][0]["info"][name] = pid
            self.assertEqual(self.findings(second, first)[1], {})


class Seeds(Rules):
    """The three dumps of the seed notes, as their authors printed them."""

    def test_generic_004_requests_idle_under_abort(self):
        # QUIESCED, force_abort and canceling true, io flags 80000001 and 6, requests IDLE; a removal waits.
        ios = [make.io(0, "requeued", ("ACTIVE", "CANCELED"), asked=make.request(0, "IDLE"), flags_raw="0x80000001"),
               make.io(1, "requeued", ("OWNED_BY_SRV", "ABORTED"), asked=make.request(1, "IDLE"), flags_raw="0x6")]
        device = make.device([make.queue(ios, booleans={"force_abort": True, "canceling": True, "fail_io": False})],
                             state="QUIESCED", state_bits=["USED"], canceling=True, frozen=1)
        _judged, found = self.findings(make.document([device]))
        self.assertEqual(found["WAITS_RECOVERY"]["severity"], "hang")
        self.assertEqual(found["WAITS_RECOVERY"]["tags"], [0, 1])

    def test_blktests_002_endless_cancel(self):
        # LIVE, freeze depth 1, canceling 0; the io is OWNED_BY_SRV, and io_uring_try_cancel_requests() loops.
        entry = make.io(0, ring=None)
        device, daemon, ring = self.served(entry, frozen=1)
        kworker = make.task("kworker/u8:1", "R", None, [], pid=33, roles=["io_ring_exit_work"])
        ring["refs"]["dead"], ring["commands"] = True, [{"file": device["ch_file"], "count": 1}]
        daemon["state"], daemon["flags"] = "X", ["EXITING"]
        work = {"work": "io_ring_exit_work", "task": kworker["address"], "of": ring["address"], "state": "R"}
        self.expect("ENDLESS_CANCEL", make.document([device], [daemon, kworker], [ring], works=[work]),
                    "canceling False", catalogue="H4")

    def test_lost_task_work(self):
        # LIVE, quiesce depth 1, canceling True; tags 102 and 103 idle and canceled, 104 and 105 IN_FLIGHT and ACTIVE;
        # the server exits and its io-wq worker is in ublk_stop_dev_unlocked().
        ios = [make.io(102, "canceled", ("ACTIVE", "CANCELED"), asked=make.request(102, "IDLE")),
               make.io(103, "canceled", ("ACTIVE", "CANCELED"), asked=make.request(103, "IDLE")),
               make.io(104, "dispatched", ("ACTIVE",)), make.io(105, "dispatched", ("ACTIVE",))]
        worker = make.task("iou-wrk-8381", "D", "ublk_stop_dev_unlocked", pid=8382)
        device, daemon, ring = self.served(*ios, quiesced=1, canceling=True)
        found = self.expect("TASK_WORK_LOST", make.document(
            [device], [daemon, worker], [ring], [make.command("STOP_DEV", worker["address"])]), "canceling is True",
            severity="defect")
        self.assertEqual(found["TASK_WORK_LOST"]["tags"], [104, 105])
        self.assertEqual(found["STOP_WAITS_IO"]["severity"], "consequence")


class Counted(list[typing.Any]):
    """A list that counts how many of its entries were looked at."""

    looked_at = 0

    def __iter__(self):
        for entry in list.__iter__(self):
            Counted.looked_at += 1
            yield entry


class ManyTags(Rules):
    """8 queues of 4096 tags, all stuck: the work grows with the tags, not with their square."""

    def looks(self, depth, **fields):
        daemon = make.task()
        ring = make.ring([daemon["address"]])
        queues = []
        for number in range(2):
            ios = [make.io(tag, daemon=daemon["address"], **fields) for tag in range(depth)]
            ring["buffers"] += [{"slot": entry["tag"], "request": entry["request"]["address"], "bytes": 4096,
                                 "release": "ublk_io_release", "node_refs": 1, "refs": 1}
                                for entry in ios if entry["references_out"]]
            queues.append(make.queue(ios, depth, id=number))
        document = make.document([make.device(queues)], [daemon], [ring])
        earlier, later = read(document), read(document)
        for dump in (earlier, later):
            dump.rings[0].buffers = Counted(dump.rings[0].buffers)
            for queue in dump.devices[0].queues:
                queue.ios = Counted(queue.ios)
        Counted.looked_at = 0
        return verdict.judge(later, earlier).findings

    def test_looks_at_each_tag_a_bounded_number_of_times(self):
        for code, fields in (("SERVER_HOLDS_IO", {}), ("SERVER_HOLDS_IO", {"references_out": 1}),
                             ("BUFFER_REFERENCE", {"place": "dispatched", "flags": ("ACTIVE",), "ref": 1, "references_out": 1})):
            with self.subTest(code=code, **fields):
                self.looks(64, **fields)
                few = Counted.looked_at
                found = self.looks(256, **fields)
                many = Counted.looked_at
                self.assertGreater(few, 128)
                self.assertLessEqual(many, 4 * few)
                self.assertEqual([(row.code, row.queue, len(row.tags)) for row in found],
                                 [(code, 0, 256), (code, 1, 256)])
                self.assertLess(len(" ".join(found[0].evidence)), 2000)


class Model(unittest.TestCase):
    """The dataclasses and the schema name the same fields: what the schema promises is written, and read again."""

    def compare(self, schema, hint, defs, path):
        schema = defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        inner = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if dataclasses.is_dataclass(hint):
            hints = typing.get_type_hints(hint, include_extras=True)
            fields: dict[str, typing.Any] = {}
            optional: set[str] = set()
            for field in dataclasses.fields(hint):
                optional |= {field.name} if "absent" in field.metadata else set()
                if "inlined" in field.metadata:
                    fields |= typing.get_type_hints(hints[field.name], include_extras=True)
                elif "hidden" not in field.metadata:
                    fields[field.name.rstrip("_")] = hints[field.name]
            promised = schema.get("properties", dict.fromkeys(fields, schema.get("additionalProperties")))
            self.assertLessEqual(set(promised), set(fields), path)
            self.assertLessEqual(set(fields) - set(promised), optional, path)
            for name, shape in promised.items():
                self.compare(shape, fields[name], defs, f"{path}.{name}")
        elif typing.get_origin(hint) is list and "items" in schema:
            self.compare(schema["items"], inner[0], defs, path)
        elif typing.get_origin(hint) in (typing.Union, types.UnionType):
            shapes = [shape for shape in schema.get("anyOf", [schema]) if shape != {"type": "null"}]
            self.assertEqual(len(shapes), len(inner), path)
            for shape, kind in zip(shapes, inner):
                self.compare(shape, kind, defs, path)

    def test_has_the_fields_of_the_schema(self):
        schema = json.loads(dump_paths.SCHEMA.read_text())
        self.compare(schema, Dump, schema["$defs"], "dump")


class Catalogue(unittest.TestCase):
    def test_every_code_of_the_rules_is_described(self):
        import re

        used = set()
        for path in (dump_paths.ROOT / "drgn/ublk_drgn").glob("rules_*.py"):
            used |= set(re.findall(r"Entry\.([A-Z_]+)", path.read_text()))
        self.assertGreater(len(used), 25)
        self.assertEqual(used ^ set(Entry.__members__), set())

    def test_every_code_is_in_the_guide(self):
        guide = (dump_paths.ROOT / "docs/ublk-dump.md").read_text()
        self.assertEqual([code for code in Entry.__members__ if f"`{code}`" not in guide], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
