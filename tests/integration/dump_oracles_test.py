#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every value of a dump that also exists elsewhere is equal there: GET_DEV_INFO and GET_PARAMS, sysfs, blk-mq's debugfs,
io_uring's fdinfo, /proc, and what the servers themselves say."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import ublk

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/hanglab"))
sys.path.insert(0, str(ROOT / "drgn"))

from buffer_cases import settle  # noqa: E402
from lab import Lab  # noqa: E402
from teardown_cases import killed  # noqa: E402
from ublk_dump_test import dump  # noqa: E402

DEBUGFS = pathlib.Path("/sys/kernel/debug/block")
# /proc/PID/stack leaves out the functions of the scheduler and of locks.
HIDDEN = {"__schedule", "schedule", "schedule_timeout", "io_schedule", "io_schedule_timeout", "__wait_for_common",
          "schedule_preempt_disabled", "__mutex_lock", "wait_for_completion", "wait_for_completion_io",
          "wait_for_common", "mutex_lock", "msleep"}


LOOKS = 8


def own_stacks():
    """Of each task that sleeps, by its number: the state, and the functions of /proc/PID/stack."""
    stacks = {}
    for task in pathlib.Path("/proc").glob("[0-9]*/task/[0-9]*"):
        with contextlib.suppress(OSError):
            lines = (task / "stack").read_text().splitlines()
            (state,) = re.findall(r"^State:\s*(\w)", (task / "status").read_text(), re.MULTILINE)
            if lines and state in "DS":
                stacks[int(task.name)] = state, [line.split()[1].split("+")[0] for line in lines]
    return stacks


def visible(stack, theirs):
    """The functions of a dump's stack, without those at its top that /proc/PID/stack leaves out."""
    names = [frame.split("+")[0] for frame in stack]
    while names and names[0] in HIDDEN and names[0] != theirs[0]:
        names.pop(0)
    return names


class Oracles(ublk.TestCase):
    """One dump of a machine on which many things are the matter."""

    lab: Lab
    document: dict[str, Any]
    devices: dict[int, dict[str, Any]]
    device: dict[str, Any]
    server: subprocess.Popen[str]
    registering: subprocess.Popen[str]
    number: int
    stopping: int
    registered: int
    napping: subprocess.Popen[str]
    memory: int
    clients: list[subprocess.Popen[str]]
    gone: list[int]

    @classmethod
    def setUpClass(cls):
        cls.lab = lab = Lab()
        cls.addClassCleanup(lab.__exit__)
        cls.server, cls.number = lab.bad_server("--hold", "-1", "--depth", "8")
        cls.clients = [lab.blocked_read(cls.number, skip=8 * place) for place in range(3)]
        # A worker of io-wq in the middle of the driver, with the module's functions on its stack.
        _server, cls.stopping = lab.bad_server("--hold", "-1", "--flags", "recovery")
        lab.blocked_read(cls.stopping)
        cls.registering, cls.registered = lab.bad_server("--flags", "zc", "--register-only")
        lab.undo.callback(settle, cls.registering, lab.blocked_read(cls.registered))
        cls.napping, napping = lab.bad_server("--idle", "nap", "--no-defer", "--cq", "2", "--depth", "8")
        for number in range(6):
            lab.blocked_read(napping, skip=number)
        # Devices without a server in each of the states, and one with more parameters.
        cls.gone = [cls.without_server(state, *words) for state, words in
                    ((0, ()), (2, ("--flags", "recovery")), (3, ("--flags", "fail_io")))]
        lab.blocked_read(cls.gone[1])
        _pid, cls.memory = lab.our_server("-t", "mem:64M", "-q", "2")
        # Where the module is loaded, the driver's devices of one queue have one anyway.
        ublk.run("modprobe", "mq-deadline")
        (pathlib.Path(f"/sys/block/ublkb{cls.memory}/queue/scheduler")).write_text("mq-deadline")
        time.sleep(2.5)
        cls.document = dump()
        cls.devices = {row["id"]: row for row in cls.document["devices"]}
        cls.device = cls.devices[cls.number]

    @classmethod
    def without_server(cls, state, *words):
        process, number = cls.lab.bad_server(*words)
        killed(cls.lab, process.pid, number, state)
        return number

    def test_get_dev_info(self):
        states = {0: "DEAD", 1: "LIVE", 2: "QUIESCED", 3: "FAIL_IO"}
        for number, device in self.devices.items():
            info = json.loads(self.lab.control_result("info", number))
            self.assertEqual(info.pop("result"), 0)
            self.assertEqual(int(device["flags_raw"], 16), info.pop("flags"))
            self.assertEqual(states[info.pop("state")], device["state"])
            self.assertEqual(info, device["info"])
            self.assertGreater(len(info), 5)
        self.assertEqual({device["state"] for device in self.devices.values()}, set(states.values()))

    def test_get_params(self):
        groups = set()
        for number, device in self.devices.items():
            theirs = json.loads(self.lab.control_result("params", number))
            self.assertEqual(theirs["result"], 0)
            # DEVT is made for the answer (ublk_ctrl_fill_params_devt()), and is in no device.
            self.assertEqual(device["params"]["types"], [name for bit, name in enumerate(
                ("BASIC", "DISCARD", None, "ZONED", "DMA_ALIGN", "SEGMENT", "INTEGRITY"))
                if theirs["types"] >> bit & 1 and name])
            for group in ("basic", "discard", "dma", "seg"):
                if group in device["params"]:
                    groups.add(group)
                    self.assertEqual(device["params"][group], theirs[group], (number, group))
        self.assertLessEqual({"basic", "discard"}, groups)

    def test_sysfs(self):
        for number in (self.number, self.memory, self.gone[1]):
            block, device = pathlib.Path(f"/sys/block/ublkb{number}"), self.devices[number]
            basic, queue = device["params"]["basic"], device["disk"]["queue"]
            self.assertEqual(int((block / "size").read_text()), device["disk"]["sectors"])
            # blk_mq_put_driver_tag(): under a scheduler what is requeued has no tag of the driver's any more.
            with_tag = 0 if queue["elevator"] else len(queue["requeued"])
            self.assertEqual(sum(map(int, (block / "inflight").read_text().split())),
                             sum(row["tags_busy"] for row in device["queues"]) - with_tag, number)
            self.assertEqual(len(list((block / "mq").iterdir())), len(device["queues"]))
            values = {name: int((block / "queue" / name).read_text()) for name in (
                "nr_requests", "logical_block_size", "physical_block_size", "max_hw_sectors_kb")}
            (scheduler,) = re.findall(r"\[(\S+)\]", (block / "queue/scheduler").read_text())
            self.assertEqual(scheduler, queue["elevator"] or "none")
            # blk_mq_default_nr_requests(): a scheduler has twice as many, of 128 at most.
            depth = device["queues"][0]["depth"]
            self.assertEqual(values, {
                "nr_requests": 2 * min(depth, 128) if queue["elevator"] else depth, "logical_block_size": 1 << basic["logical_bs_shift"],
                "physical_block_size": 1 << basic["physical_bs_shift"], "max_hw_sectors_kb": basic["max_sectors"] // 2})
            hz = queue["timeout_jiffies"] * 1000 / int((block / "queue/io_timeout").read_text())
            self.assertIn(hz, (100, 250, 300, 1000))
        self.assertEqual(self.devices[self.memory]["disk"]["queue"]["elevator"], "mq-deadline")

    def test_block_debugfs(self):
        for number in (self.number, self.memory, self.gone[1]):
            folder, device = DEBUGFS / f"ublkb{number}", self.devices[number]
            queue = device["disk"]["queue"]
            self.assertEqual(set((folder / "state").read_text().split()[0].split("|")), set(queue["flags"]))
            self.assertEqual(len((folder / "requeue_list").read_text().splitlines()), len(queue["requeued"]))
            for row in device["queues"]:
                self.hardware_queue(folder / f"hctx{row['id']}", row)
        self.assertEqual(len(self.devices[self.gone[1]]["disk"]["queue"]["requeued"]), 1)

    def hardware_queue(self, folder, queue):
        tags = (folder / "tags").read_text()
        numbers = dict(re.findall(r"^(\w+)=(\d+)$", tags, re.MULTILINE))
        self.assertEqual(int(numbers["nr_tags"]), queue["depth"])
        self.assertEqual(int(numbers["busy"]), queue["tags_busy"])
        self.assertEqual(int(numbers["ws_active"]), queue["tag_waiters"])
        self.assertEqual(len((folder / "dispatch").read_text().splitlines()), queue["hctx"]["dispatch"])
        self.assertEqual(int((folder / "active").read_text()), queue["hctx"]["active"])
        state = (folder / "state").read_text().split()
        self.assertEqual(set(state[0].split("|")) if state else set(), set(queue["hctx"]["state"]))

    def test_requests(self):
        for number, count in ((self.number, 3), (self.registered, 1)):
            rows = [dict(re.findall(r"\.(\w+)=([^,}]*)", line))
                    for line in (DEBUGFS / f"ublkb{number}/hctx0/busy").read_text().splitlines()]
            theirs = {int(row["tag"]): {**row, "rq_flags": set(row["rq_flags"].split("|")),
                                        "cmd_flags": set(row["cmd_flags"].split("|"))} for row in rows}
            ours = {str(io["request"]["tag"]): io["request"] for io in self.devices[number]["queues"][0]["ios"]
                    if io["place"] == "owned_by_server"}
            self.assertEqual({int(tag): {
                "op": row["op"], "tag": tag, "internal_tag": str(row["internal_tag"]), "state": row["state"].lower(),
                "rq_flags": set(row["rq_flags"]), "cmd_flags": set(row["cmd_flag_names"])}
                for tag, row in ours.items()}, theirs)
            self.assertEqual(len(ours), count)

    def test_server_account(self):
        """What the server says it has been given and has not given back."""
        for server, number in ((self.server, self.number), (self.registering, self.registered)):
            server.send_signal(signal.SIGUSR2)
            assert server.stdout
            account = json.loads(server.stdout.readline())
            queue = self.devices[number]["queues"][0]
            tags = [io["tag"] for io in queue["ios"] if io["place"] == "owned_by_server"]
            self.assertEqual(account["requests"] - account["commits"], len(tags))
            self.assertEqual(queue["summary"]["waiting"], queue["depth"] - len(tags))
            if number == self.number:
                self.assertEqual(sorted(account["held"]), tags)

    def ring_and_fdinfo(self, server):
        """The server's ring in the dump, and the text of its fdinfo."""
        (text,) = [pathlib.Path(f"/proc/{server.pid}/fdinfo/{fd.name}").read_text()
                   for fd in pathlib.Path(f"/proc/{server.pid}/fd").iterdir() if "io_uring" in os.readlink(fd)]
        task = next(task["address"] for task in self.document["tasks"] if task["pid"] == server.pid)
        return next(row for row in self.document["rings"] if task in row["users"]), text

    def test_fdinfo(self):
        for server, number in ((self.server, self.number), (self.registering, self.registered), (self.napping, None)):
            ring, text = self.ring_and_fdinfo(server)
            fdinfo = dict(re.findall(r"^(\w+):\s*(\S+)", text, re.MULTILINE))
            for name, value in {"SqHead": ring["queues"]["sq"]["head"], "SqTail": ring["queues"]["sq"]["tail"],
                                "CqHead": ring["queues"]["cq"]["head"], "CqTail": ring["queues"]["cq"]["tail"],
                                "CachedSqHead": ring["cached_sq_head"], "CachedCqTail": ring["cached_cq_tail"],
                                "UserFiles": ring["file_slots"], "UserBufs": ring["buffer_slots"]}.items():
                self.assertEqual(int(fdinfo[name]), value, name)
            self.assertEqual(int(fdinfo["SqMask"], 16) + 1, ring["queues"]["sq"]["entries"])
            self.assertEqual(int(fdinfo["CqMask"], 16) + 1, ring["queues"]["cq"]["entries"])
            self.assertEqual(len(section(text, "CqOverflowList")), ring["overflow_list"])
            self.assertEqual(len(section(text, "PollList")), len(ring["polls"]))
            self.assertEqual(section(text, "UserFiles").keys(), {row["slot"] for row in ring["files"]})
            kernel_buffers = {slot: int(line.rpartition("/")[2]) for slot, line in section(text, "UserBufs").items()
                              if "/" in line}
            self.assertEqual({row["slot"]: row["bytes"] for row in ring["buffers"]}, kernel_buffers)
            if number is not None:
                files = [row["file"] for row in ring["files"]]
                self.assertEqual(files, [self.devices[number]["ch_file"]])
        self.assertEqual(len(self.ring_and_fdinfo(self.registering)[0]["buffers"]), 1)
        self.assertGreater(self.ring_and_fdinfo(self.napping)[0]["overflow_list"], 0)
        ring, _text = self.ring_and_fdinfo(self.server)
        self.assertEqual(sum(row["count"] for row in ring["commands"]), 5)  # 8 tags, 3 of them at the server

    def test_descriptors(self):
        openers = self.device["openers"]
        own = [row for row in openers["char"] if row["how"] == "fd"]
        self.assertEqual([row["pid"] for row in own], [self.server.pid])
        for row in own + openers["block"]:
            path = os.readlink(f"/proc/{row['pid']}/fd/{row['fd']}")
            self.assertRegex(path, rf"/dev/ublk[cb]{self.number}$")
        self.assertEqual({row["pid"] for row in openers["block"]}, {client.pid for client in self.clients})

    def test_stacks_and_states(self):
        """Each sleeping task's stack in a dump is the kernel's own, where the kernel's own is there and the same before
        and after the dump: a task that runs has none, and msleep() wakes up now and then. Then it is looked at again."""
        worker = self.lab.control("stop", self.stopping)
        ublk.wait_until(lambda: any(frame.startswith("ublk_") for _state, stack in own_stacks().values() for frame in stack),
                        "the stop is in the driver")
        equal, differences, in_driver = set(), {}, False
        for _look in range(LOOKS):
            before = own_stacks()
            document = dump()
            after = own_stacks()
            for task in document["tasks"]:
                theirs = before.get(task["pid"])
                if not task["stack"] or theirs is None or theirs != after.get(task["pid"]):
                    continue
                ours = task["state"], visible(task["stack"], theirs[1])
                if ours == theirs:
                    equal.add(task["pid"])
                    in_driver |= "[ublk_drv]" in " ".join(task["stack"])
                else:
                    differences[task["pid"]] = f"{task['comm']}: {ours} is not {theirs}"
            left = {pid: text for pid, text in differences.items() if pid not in equal}
            if len(equal) >= 6 and in_driver and not left:
                break
        self.assertEqual(left, {}, f"different in {LOOKS} dumps")
        self.assertGreaterEqual(len(equal), 6, f"so few could be compared in {LOOKS} dumps")
        self.assertTrue(in_driver, f"no stack through the module in {LOOKS} dumps")
        worker.kill()

    def test_ages(self):
        oldest = max(io["request"]["age_ns"] for io in self.device["queues"][0]["ios"])
        self.assertGreater(oldest, 2.5e9)
        self.assertLess(oldest, 300e9)

    def test_clients(self):
        pids = {task["address"]: task["pid"] for task in self.document["tasks"]}
        waiting = {pids[io["request"]["client"]["task"]] for io in self.device["queues"][0]["ios"]}
        self.assertEqual(waiting, {client.pid for client in self.clients})

    def test_schema(self):
        import jsonschema

        schema = json.loads((ROOT / "drgn/ublk_drgn/schema/dump.schema.json").read_text())
        jsonschema.validate(self.document, schema)
        self.assertEqual((self.document["missing"], self.document["errors"]), ([], []))

    def test_recording_replays_to_the_same_verdict(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "hang.xz"
            live = dump("--record", path)
            again = dump("--replay", path)
        for document in (live, again):
            document.pop("taken_at")
        live["source"]["kind"] = again["source"]["kind"]
        self.assertEqual(live, again)


def section(text, name):
    """Lines that belong to a heading of fdinfo, by their number."""
    lines = re.search(rf"^{name}:.*\n((?:[ \t]+.*\n)*)", text + "\n", re.MULTILINE)
    found = {}
    for place, line in enumerate(lines[1].splitlines() if lines else ()):
        number = re.match(r"\s*(\d+): ", line)
        found[int(number[1]) if number else place] = line
    return found


if __name__ == "__main__":
    ublk.main()
