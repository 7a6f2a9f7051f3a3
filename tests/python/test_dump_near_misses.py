#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What looks like an entry of the catalogue and is another, or none: documents made by hand."""

import copy
import types
import typing
import unittest

import dump_paths

dump_paths.need("jsonschema", "drgn")

import documents as make  # noqa: E402
from judged import judge, only_device  # noqa: E402
from test_dump_rules import Rules  # noqa: E402

from ublk_drgn.kernel_users import KernelUsers, Part  # noqa: E402

MINUTE_NS = 60 * 10**9


def cgroup(path="/system.slice/server", frozen_by=(), freezer_v1=None):
    return {"path": path, "frozen_by": list(frozen_by), "freezer_v1": freezer_v1}


def quota(path="/limited", now=False, periods=100, throttled=90):
    return {"path": path, "quota_ns": 5_000_000, "period_ns": 100_000_000, "nr_periods": periods,
            "nr_throttled": throttled, "throttled_now": now}


class Cases(Rules):
    def expect_only(self, code, document, earlier=None, *, severity=None):
        judged, found = self.findings(document, earlier)
        stuck = {row["code"] for row in judged["findings"] if row["severity"] in ("defect", "hang", "consequence")}
        self.assertEqual(stuck, {code} if code else set())
        if severity:
            self.assertEqual(found[code]["severity"], severity)
        return found.get(code)

    def of(self, *ios, daemon=None, **fields):
        device, daemon, ring = self.served(*ios, daemon=daemon, **fields)
        return make.document([device], [daemon], [ring])


class Standstill(Cases):
    """A server that may not run, in all the ways that the kernel has."""

    def sleeper(self, **fields):
        return make.task(frozen=fields.pop("frozen", True), cgroup=cgroup(frozen_by=["/docker/abc"]), **fields)

    def test_frozen_with_and_without_the_request(self):
        for entry in (make.io(0), make.io(0, "dispatched", ("ACTIVE",))):
            row = self.expect_only("SERVER_FROZEN", self.of(entry, daemon=self.sleeper()))
            self.assertIn("frozen by cgroup /docker/abc", " ".join(row["evidence"]))
            self.assertIn("echo 0 > /sys/fs/cgroup/docker/abc/cgroup.freeze", row["next_step"])

    def test_being_thawed(self):
        self.expect_only("SERVER_HOLDS_IO", self.of(make.io(0), daemon=make.task(frozen=True, cgroup=cgroup())))

    def test_frozen_while_starting(self):
        worker = make.task("iou-wrk-7", "S", "ublk_wait_dev_ready_and_lock", pid=8)
        device, daemon, ring = self.served(daemon=self.sleeper(), nr_queue_ready=0)
        device["queues"][0]["nr_io_ready"] = 3
        document = make.document([device], [daemon, worker], [ring], [make.command("START_DEV", worker["address"])])
        self.assertIn("3 of 8 tags", " ".join(self.expect_only("SERVER_FROZEN", document)["evidence"]))

    def test_in_a_frozen_cgroup_but_not_frozen_yet(self):
        daemon = self.sleeper(frozen=False, state="D", waits_in="folio_wait_bit_common")
        self.expect_only("TARGET_SLOW", self.of(make.io(0), daemon=daemon))

    def test_frozen_and_stopped_needs_both_undone(self):
        row = self.expect_only("SERVER_STOPPED", self.of(make.io(0), daemon=self.sleeper(state="T", stop_signal=19)))
        self.assertIn("stopped by SIGSTOP; frozen by cgroup /docker/abc", row["evidence"][1])
        self.assertIn("kill -CONT 100", row["next_step"])
        self.assertIn("cgroup.freeze", row["next_step"])

    def test_freezer_of_v1_and_of_the_system(self):
        for path, says in (("/paused", "freezer cgroup /paused"), (None, "suspend")):
            daemon = make.task(state="F", frozen=False, cgroup=cgroup(freezer_v1=path))
            self.assertIn(says, " ".join(self.expect_only("SERVER_FROZEN", self.of(make.io(0), daemon=daemon))["evidence"]))

    def test_tracer_is_named(self):
        tracer = make.task("gdb", pid=77, roles=["traces the server"])
        device, daemon, ring = self.served(make.io(0), daemon=make.task(state="t", tracer=tracer["address"]))
        row = self.expect_only("SERVER_STOPPED", make.document([device], [daemon, tracer], [ring]))
        self.assertIn("traced by gdb (pid 77)", row["evidence"][1])

    def test_another_thread_of_the_server_is_traced(self):
        device, daemon, ring = self.served(make.io(0))
        thread = make.task("worker", "t", None, [], pid=101, tgid=100)
        row = self.expect_only("SERVER_STOPPED", make.document([device], [daemon, thread], [ring]))
        self.assertIn("another thread of the server", row["evidence"][1])

    def test_frozen_stranger(self):
        device, daemon, ring = self.served(make.io(0), daemon=make.task(frozen=False))
        stranger = make.task("stranger", pid=300, frozen=True, cgroup=cgroup(frozen_by=["/docker/abc"]))
        row = self.expect_only("SERVER_HOLDS_IO", make.document([device], [daemon, stranger], [ring]))
        self.assertIn("server stopped, frozen or dead", row["ruled_out"])

    def test_what_was_not_looked_at_is_not_ruled_out(self):
        row = self.expect_only("SERVER_HOLDS_IO", self.of(make.io(0)))  # a recording of before has no word of freezers
        self.assertNotIn("frozen", " ".join(row["ruled_out"]))

    def test_one_of_two_batch_daemons_is_stopped(self):
        device, first, ring = self.served(make.io(0))
        second = make.task(state="T", pid=102, tgid=100)
        device["queues"][0]["ios"][0]["task"] = None
        device["openers"]["char"] = [{"how": "fd", "pid": 100, "comm": "server", "fd": 3, "file": device["ch_file"],
                                      "task": first["address"], "state": "S"}]
        ring["commands"] = [{"file": device["ch_file"], "count": 1}]
        other = make.ring([second["address"]], commands=[{"file": device["ch_file"], "count": 1}])
        self.expect_only("SERVER_STOPPED", make.document([device], [first, second], [ring, other]))


class Processor(Cases):
    """Ready to run, and not running."""

    def test_quota_used_up_now(self):
        daemon = make.task(state="R", waits_in=None, stack=[], quotas=[quota(now=True)])
        document = self.of(make.io(0, "dispatched", ("ACTIVE",)), daemon=daemon)
        document["rings"][0]["task_work_pending"] = True
        row = self.expect_only("SERVER_THROTTLED", document)
        self.assertIn("cgroup /limited has 0.05 CPUs (5.0 ms in 100.0 ms), throttled in 90 of 100 periods",
                      " ".join(row["evidence"]))
        self.assertNotIn("then restart", row["next_step"])

    def test_quota_used_up_between_the_samples(self):
        daemon = make.task(state="R", waits_in=None, stack=[], quotas=[quota()])
        first = self.of(make.io(0, asked=make.request(0, age_s=10)), daemon=daemon)
        second = copy.deepcopy(first)
        second["tasks"][0]["quotas"][0].update(nr_periods=105, nr_throttled=95)
        _judged, found = self.findings(second, first)
        self.assertEqual(found["SERVER_THROTTLED"]["severity"], "slow")

    def test_quota_that_was_used_up_long_ago(self):
        daemon = make.task(frozen=False, quotas=[quota()])
        first = self.of(make.io(0), daemon=daemon)
        self.expect_only("SERVER_HOLDS_IO", copy.deepcopy(first), first)

    def test_idle_server_whose_group_is_throttled_by_others(self):
        self.expect_only("SERVER_HOLDS_IO", self.of(make.io(0), daemon=make.task(frozen=False, quotas=[quota(now=True)])))

    def test_starved_by_a_real_time_task(self):
        daemon = make.task(state="R", waits_in=None, stack=[], cpu=1, policy="NORMAL")
        device, daemon, ring = self.served(make.io(0, "dispatched", ("ACTIVE",)), daemon=daemon)
        ring["task_work_pending"] = True
        hog = make.task("hog", "R", None, [], pid=9, on_cpu=True, cpu=1, policy="FIFO", roles=["has the server's CPU"])
        row = self.expect_only("SERVER_WITHOUT_CPU", make.document([device], [daemon, hog], [ring]))
        self.assertIn("on its CPU 1 runs hog (pid 9, FIFO)", " ".join(row["evidence"]))

    def test_spinning_server_is_not_starved(self):
        daemon = make.task(state="R", waits_in=None, stack=[], on_cpu=True, cpu=1)
        document = self.of(make.io(0, "dispatched", ("ACTIVE",)), daemon=daemon)
        document["rings"][0]["task_work_pending"] = True
        self.expect_only("SERVER_NOT_REAPING", document)


class OtherDevices(Cases):
    """What happens on another device changes nothing."""

    def two(self, **fields):
        device, daemon, ring = self.served(make.io(0))
        other = make.device([make.queue([])], number=1, server_pid=200, **fields)
        server = make.task("other", pid=200)
        return [device, other], [daemon, server], [ring, make.ring([server["address"]])]

    def test_slow_stop_beside_a_hang(self):
        devices, tasks, rings = self.two(frozen=1)
        worker = make.task("iou-wrk-7", "D", "blk_mq_freeze_queue_wait", pid=8)
        document = make.document(devices, [*tasks, worker], rings, [make.command("STOP_DEV", worker["address"], number=1)])
        judged, found = self.findings(document)
        self.assertEqual({(row["code"], row["device"], row["severity"]) for row in judged["findings"]},
                         {("SERVER_HOLDS_IO", 0, "hang"), ("STOP_WAITS_IO", 1, "slow")})
        self.assertNotIn("STOP", judged["verdict"]["line"])
        judged = only_device(judged, 1)
        self.assertEqual((judged["verdict"]["state"], judged["verdict"]["exit_code"]), ("slow", 0))
        self.assertIn("in progress", found["STOP_WAITS_IO"]["text"])

    def test_delete_behind_the_mutex_of_the_hung_device(self):
        devices, tasks, rings = self.two()
        stopper = make.task("iou-wrk-7", "D", "blk_mq_freeze_queue_wait", pid=8)
        waiter = make.task("iou-wrk-9", "D", "ublk_ctrl_del_dev", ["__mutex_lock+0x1", "ublk_ctrl_del_dev+0x1"], pid=10,
                           blocked_on={"mutex": make.address(), "owner": stopper["address"]})
        document = make.document(devices, [*tasks, stopper, waiter], rings, [
            make.command("DEL_DEV", stopper["address"]), make.command("DEL_DEV", waiter["address"], number=1)])
        judged, found = self.findings(document)
        self.assertEqual(found["CONTROL_WAITS_MUTEX"]["severity"], "consequence")
        self.assertIn("waits for device 0, which has SERVER_HOLDS_IO", found["CONTROL_WAITS_MUTEX"]["evidence"])
        judged = only_device(judged, 1)
        self.assertEqual(judged["verdict"]["exit_code"], 1)
        self.assertIn("device 1: ", judged["verdict"]["line"])

    def test_hung_device_behind_the_mutex_of_a_slow_one(self):
        devices, tasks, rings = self.two(frozen=1)
        stopper = make.task("iou-wrk-7", "D", "blk_mq_freeze_queue_wait", pid=8)
        waiter = make.task("iou-wrk-9", "D", "ublk_ctrl_del_dev", ["__mutex_lock+0x1", "ublk_ctrl_del_dev+0x1"], pid=10,
                           blocked_on={"mutex": make.address(), "owner": stopper["address"]})
        _judged, found = self.findings(make.document(devices, [*tasks, stopper, waiter], rings, [
            make.command("DEL_DEV", stopper["address"], number=1), make.command("DEL_DEV", waiter["address"])]))
        self.assertEqual(found["CONTROL_WAITS_MUTEX"]["severity"], "slow")

    def test_thread_that_serves_another_device_of_the_same_process(self):
        devices, tasks, rings = self.two()
        busy = make.task("other-queue", "D", "folio_wait_bit_common", pid=101, tgid=100)
        devices[1]["queues"][0]["ios"] = [make.io(0, "waiting", ("ACTIVE",), daemon=busy["address"], req=None)]
        devices[1]["queues"][0]["ios"][0]["request"] = None
        self.expect_only("SERVER_HOLDS_IO", make.document(devices, [*tasks, busy], rings))

    def test_the_same_tag_of_another_queue(self):
        device, daemon, ring = self.served(make.io(3))
        lost = make.io(3, "unknown", ("bit5?",), flags_raw="0x20", daemon=daemon["address"])
        device["queues"].append(make.queue([lost], id=1))
        _judged, found = self.findings(make.document([device], [daemon], [ring]))
        self.assertEqual((found["SERVER_HOLDS_IO"]["tags"], found["UNKNOWN"]["tags"]), ([3], [3]))


class Order(Cases):
    """That tags, tasks and rings are many changes nothing either; Rules renames and shuffles every document."""

    def test_two_tags_swapped(self):
        for swap in (False, True):
            ios = [make.io(4, "dispatched", ("ACTIVE",)), make.io(5, "dispatched", ("ACTIVE",))]
            if swap:
                ios[0]["tag"], ios[1]["tag"] = 5, 4
            self.assertEqual(self.expect_only("TASK_WORK_LOST", self.of(*ios))["tags"], [4, 5])

    def test_stale_slot_under_an_io_scheduler(self):
        entry = make.io(4, "dispatched", ("ACTIVE",))
        entry["request"]["tag"] = 7
        self.expect_only("TASK_WORK_LOST", self.of(entry))

    def test_trouble_in_two_rings(self):
        device, daemon, ring = self.served(make.io(0))
        ring["queues"]["cq"].update(tail=3, unreaped=3)
        other = make.ring([daemon["address"]], overflow_list=2)
        self.expect_only("CQ_OVERFLOW", make.document([device], [daemon], [ring, other]))

    def test_two_threads_in_two_sorts_of_trouble(self):
        daemon = make.task("server", "D", "bio_await")
        entry = make.io(0, asked=make.request(0, client=daemon["address"]))
        device, daemon, ring = self.served(entry, daemon=daemon)
        thread = make.task("helper", "D", None, ["shrink_folio_list+0x1", "try_to_free_pages+0x1"], pid=101, tgid=100)
        self.expect_only("MEMORY_RECLAIM_LOOP", make.document([device], [daemon, thread], [ring]))


class Progress(Cases):
    def test_completions_that_are_taken_all_the_time(self):
        device, daemon, ring = self.served(make.io(5))
        daemon.update(state="R", stack=[], waits_in=None, on_cpu=True)
        ring["cq_waiting_for"] = 0
        ring["queues"]["cq"].update(head=10, tail=12, unreaped=2)
        first = make.document([device], [daemon], [ring])
        second = copy.deepcopy(first)
        second["rings"][0]["cached_sq_head"] += 100
        second["rings"][0]["queues"]["cq"].update(head=110, tail=111, unreaped=1)
        self.expect_only("SERVER_HOLDS_IO", second, first)

    def test_start_that_fetches_on(self):
        worker = make.task("iou-wrk-7", "S", "ublk_wait_dev_ready_and_lock", pid=8)
        device, daemon, ring = self.served()
        device["queues"][0]["nr_io_ready"] = 3
        first = make.document([device], [daemon, worker], [ring], [make.command("START_DEV", worker["address"])])
        second = copy.deepcopy(first)
        second["devices"][0]["queues"][0]["nr_io_ready"] = 5
        self.expect_only(None, second, first)
        self.expect_only("START_WAITS_FETCH", copy.deepcopy(first), first)

    def test_control_mutex_that_changes_hands(self):
        device, daemon, ring = self.served()
        documents = []
        for _sample in range(2):
            gone = make.task("iou-wrk-3", "X", None, [], pid=9)
            documents.append(make.document([device], [daemon, gone], [ring], control_mutex={
                "address": "0xffff8880abcdef00", "owner": gone["address"], "waiters": True}))
        self.expect_only(None, copy.deepcopy(documents[1]), copy.deepcopy(documents[0]))

    def test_task_work_that_is_being_run(self):
        for state, waits_in in (("R", None), ("D", "folio_wait_bit_common")):
            daemon = make.task(state=state, waits_in=waits_in, stack=None if waits_in else [], on_cpu=state == "R")
            self.expect_only("UNKNOWN", self.of(make.io(0, "dispatched", ("ACTIVE",)), daemon=daemon))

    def test_lost_where_an_sqpoll_thread_may_have_it(self):
        document = self.of(make.io(0, "dispatched", ("ACTIVE",)))
        document["rings"][0]["setup"] = ["SQPOLL"]
        self.expect_only("UNKNOWN", document)

    def test_ring_that_rewinds_its_queue(self):
        document = self.of(make.io(0))
        document["rings"][0]["queues"]["sq"]["unsubmitted"] = 3
        document["rings"][0]["setup"] = ["SQ_REWIND"]
        self.expect_only("SERVER_HOLDS_IO", document)


class Teardown(Cases):
    def dead(self, *, work_state, commands=1, **ring_fields):
        device, daemon, ring = self.served(make.io(0))
        daemon.update(state="X", flags=["EXITING"], stack=[], waits_in=None)
        ring["refs"].update(dead=True, atomic=True, count=2)
        ring.update(ring_fields, users=[])
        if commands:
            ring["commands"] = [{"file": device["ch_file"], "count": commands}]
        device["openers"]["char"] = [{"how": "registered file", "ring": ring["address"], "slot": 0,
                                      "file": device["ch_file"], "users": []}]
        worker = make.task("kworker/u8:1", work_state, "io_ring_exit_work", pid=33, roles=["io_ring_exit_work"])
        work = {"work": "io_ring_exit_work", "task": worker["address"], "of": ring["address"], "state": work_state}
        return make.document([device], [daemon, worker], [ring], works=[work])

    def test_cancel_that_loops(self):
        first = self.dead(work_state="R")
        self.expect_only("ENDLESS_CANCEL", copy.deepcopy(first), first, severity="defect")

    def test_ring_of_a_dead_server_waits_for_the_target(self):
        first = self.dead(work_state="S", commands=0)
        row = self.expect_only("SERVER_EXIT_WAITS_IO", copy.deepcopy(first), first, severity="hang")
        self.assertNotIn("defect", row["next_step"])

    def test_worker_that_ran_in_one_sample_only(self):
        first = self.dead(work_state="S", commands=0)
        second = copy.deepcopy(first)
        second["works"][0]["state"] = "R"
        self.expect_only("SERVER_EXIT_WAITS_IO", second, first)

    def test_leaked_buffer_in_a_living_ring(self):
        entry = make.io(0, "dispatched", ("ACTIVE",), ref=1, references_out=1)
        device, daemon, ring = self.served(entry)
        entry["ring"], ring["refs"]["dead"] = ring["address"], True
        keeper = make.task("keeper", pid=77)
        other = make.ring([keeper["address"]], buffers=[{
            "slot": 4, "request": entry["request"]["address"], "bytes": 4096, "release": "ublk_io_release",
            "node_refs": 1, "refs": 1}])
        document = make.document([device], [daemon, keeper], [ring, other])
        self.expect_only("BUFFER_REFERENCE", document)
        other["refs"]["dead"] = True
        self.expect_only("CANCEL_LIVELOCK", document)

    def held(self, device, daemon):
        device["openers"]["char"] = [{"how": "fd", "pid": 100, "comm": "server", "fd": 3, "file": device["ch_file"],
                                      "task": daemon["address"], "state": "S"}]

    def test_thread_of_a_living_server_has_ended(self):
        device, daemon, ring = self.served(make.io(0))
        self.held(device, daemon)
        daemon.update(state="X", flags=["EXITING"], pid=101, tgid=100)
        row = self.expect_only("CHARDEV_HELD", make.document([device], [daemon, make.task(pid=100)], [ring]))
        self.assertIn("the thread that served these tags has ended", row["text"])
        self.assertIn("pid 100", row["next_step"])

    def test_killed_server_with_a_thread_that_cannot_die(self):
        device, daemon, ring = self.served(make.io(0))
        self.held(device, daemon)
        daemon.update(state="X", flags=["EXITING"], pid=101, tgid=100)
        thread = make.task("server", "D", "folio_wait_bit_common", pid=102, tgid=100, killed=True)
        row = self.expect_only("SERVER_EXITING", make.document([device], [daemon, thread], [ring]))
        self.assertIn("folio_wait_bit_common", " ".join(row["evidence"]))

    def test_exiting_server_flushes_the_file_system_of_another_device(self):
        daemon = make.task("server", "D", "blkdev_issue_flush", ["blkdev_issue_flush+0x1", "cleanup_mnt+0x1",
                                                                 "do_exit+0x1"], flags=["EXITING"])
        device, daemon, ring = self.served(make.io(0), daemon=daemon)
        device["openers"]["kernel"] = []
        self.expect_only("SERVER_EXITING", make.document([device], [daemon], [ring]))

    def test_server_told_to_quiesce_that_stays(self):
        ios = [make.io(0, "requeued", ("ACTIVE", "CANCELED"), asked=make.request(0, "IDLE")),
               make.io(1, "canceled", ("ACTIVE", "CANCELED"), asked=make.request(1, "IDLE"))]
        row = self.expect_only("QUIESCE_IGNORED", self.of(*ios, canceling=True))
        self.assertEqual(row["tags"], [0])

    def test_quiesced_device_whose_queue_is_frozen_by_sysfs(self):
        entry = make.io(0, "requeued", ("ACTIVE",), asked=make.request(0, "IDLE"))
        _judged, found = self.findings(self.of(entry, canceling=True, frozen=1))
        self.assertIn("QUIESCE_MISSED", found)
        self.assertNotIn("ABORT_ORDER", found)


class Holders(unittest.TestCase):
    def test_folder_whose_memory_was_a_deleted_disks(self):
        """Seen in the lab: device-mapper on one disk was told of the disk that was deleted before."""
        def block_device(kobject):
            return types.SimpleNamespace(get={"bd_holder_dir": 0x5000}.get, place={"bd_device.kobj": kobject}.get)

        users: typing.Any = KernelUsers.__new__(KernelUsers)
        users.kernel = types.SimpleNamespace(view=lambda _kind, _address: types.SimpleNamespace(get={"parent": 0x2000}.get))
        parts = [Part(block_device(0x1000), 16), Part(block_device(0x2000), 17), Part(block_device(0x3000), 18)]
        for order in (parts, parts[::-1]):
            users.parts = order
            self.assertEqual({folder: part.device for folder, part in users._holder_folders().items()}, {0x5000: 17})


class Itself(Cases):
    def test_open_mutex_of_another_disk(self):
        udev = make.task("udevd", "D", "folio_wait_bit_common", pid=50, roles=["client"])
        for mutex, code in (("0xffff8880aaaaaa00", "OPEN_MUTEX_DEADLOCK"), ("0xffff8880bbbbbb00", "TARGET_SLOW")):
            daemon = make.task("server", "D", "bdev_open", ["mutex_lock+0x1", "bdev_open+0x1"],
                               blocked_on={"mutex": mutex, "owner": udev["address"]})
            device, daemon, ring = self.served(make.io(0), daemon=daemon)
            device["disk"]["open_mutex"] = "0xffff8880aaaaaa00"
            self.expect_only(code, make.document([device], [daemon, udev], [ring]))

    def test_server_with_another_block_device_open(self):
        for others, code in ((0, "SERVER_WAITS_FOR_ITSELF"), (1, "TARGET_SLOW")):
            daemon = make.task("server", "D", "folio_wait_bit_common", [
                "folio_wait_bit_common+0x1", "filemap_read+0x1", "blkdev_read_iter+0x1", "vfs_read+0x1"])
            device, daemon, ring = self.served(make.io(0), daemon=daemon)
            device["openers"]["block"] = [{"how": "fd", "pid": 100, "comm": "server", "fd": 9, "file": make.address(),
                                           "task": daemon["address"], "state": "D", "other_block_files": others}]
            self.expect_only(code, make.document([device], [daemon], [ring]))

    def test_pid_of_another_namespace(self):
        kworker = make.task("kworker/7", "D", "folio_wait_bit_common", pid=7)
        device, daemon, ring = self.served(make.io(0))
        device["info"]["ublksrv_pid"], device["ublksrv_tgid"] = 7, None
        row = self.expect_only("SERVER_HOLDS_IO", make.document([device], [daemon, kworker], [ring]))
        self.assertNotIn("kworker", " ".join(row["evidence"]))


class Commands(Cases):
    def document(self, *, busy=True, count=1, most=1):
        worker, issuer = make.task("iou-wrk-7", "D", "blk_mq_freeze_queue_wait", pid=8), make.task("tool", pid=7)
        device, daemon, ring = self.served(make.io(0))
        commands = [make.command("STOP_DEV", worker["address"], issuer=issuer["address"])] if busy else []
        commands.append({**make.command("GET_PARAMS", queued=True, number=1, issuer=issuer["address"]),
                         "workers": {"count": count, "most": most}})
        return make.document([device], [daemon, worker, issuer], [ring], commands)

    def test_queued_behind_a_command_that_hangs(self):
        _judged, found = self.findings(self.document())
        self.assertEqual(found["COMMAND_NOT_STARTED"]["severity"], "consequence")
        self.assertIn("queued behind iou-wrk-7", " ".join(found["COMMAND_NOT_STARTED"]["evidence"]))

    def test_worker_to_be_had_and_none_comes(self):
        for busy in (False, True):
            row = self.findings(self.document(busy=busy, most=8))[1]["COMMAND_NOT_STARTED"]
            self.assertEqual(row["severity"], "hang")
            self.assertIn("cause not known", row["next_step"])

    def test_handed_over_just_now(self):
        document = self.document(busy=False)
        document["tasks"][-1]["off_cpu_ns"] = 1000
        self.assertNotIn("COMMAND_NOT_STARTED", self.findings(document)[1])

    def test_delete_names_what_is_above(self):
        worker = make.task("iou-wrk-7", "S", "ublk_ctrl_uring_cmd", pid=8)
        device, daemon, ring = self.served(state="DEAD", state_bits=["DELETED"], disk=None)
        device["openers"]["kernel"] = [{"how": "holder", "name": "dm-0 (device-mapper)", "undo": "dmsetup remove x"}]
        row = self.expect_only("DELETE_WAITS_CLOSE", make.document(
            [device], [daemon, worker], [ring], [make.command("DEL_DEV", worker["address"])]))
        self.assertIn("in use by the kernel: dm-0 (device-mapper)", row["evidence"])
        self.assertIn("dmsetup remove x", row["next_step"])
        self.assertNotIn("nobody was found", " ".join(row["evidence"]))


class VerdictLine(Cases):
    def test_slow_things_are_named(self):
        document = self.of(make.io(0, asked=make.request(0, age_s=10)))
        document["rings"][0]["inflight"][0]["requests"] = 1
        self.assertIn("something is slow: device 0: the server has the request and waits for its own target",
                      judge(document)["verdict"]["line"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
