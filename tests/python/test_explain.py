#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ublkbench explain: each bottleneck and its near-misses, on records made by hand."""

import json
import pathlib
import tempfile
import unittest

import records

CELL = records.cell("copy", 32)
STAGES = ("dispatch", "wake", "server", "target", "commit", "complete")
IOS = 10000
WINDOW_NS = 10**9
# Nothing is busy, nobody waits: the busiest of all is the target with 40 %.
QUIET = {"dispatch": 15, "wake": 5, "server": 10, "target": 40, "commit": 10, "complete": 20}


def sizes_of(mean):
    """A thousand events of this mean."""
    larger = round(1000 * (mean % 1))
    return {"size_events": [[int(mean), 1000 - larger], [int(mean) + 1, larger]]}


def sample(round_number=0, *, server_busy=0.5, client_busy=0.4, in_flight=8, sleeps=0.1, fetch=4.0, stages=QUIET,
           longest_dispatch_ns=10**6, tag_waits=0.0, probes=("latency", "tags", "wakeups", "batch"), latency=True,
           server=True, depth=32, ios=IOS, daemons=1, busiest=1.0, throttled=None, quota_cpus=0.05, wanted=None):
    """One second of load; shares of it, and what each probe counted."""
    of = records.sample(CELL, round_number, ns_per_io=WINDOW_NS / ios, ios=ios)
    of["load"] |= {"usage": {"cpu_ns": int(client_busy * WINDOW_NS)},
                   "usage_per_job": [{"cpu_ns": int(client_busy * WINDOW_NS)}]}
    of["load"]["latency_ns"]["sum"] = (wanted or in_flight) * WINDOW_NS
    of["block"] = {"completed_ios": ios, "in_flight_mean": in_flight}
    of["cpu_quota"] = {"server": throttled and {"group": "/sys/fs/cgroup/a", "cpus": quota_cpus, "periods": 100,
                                                "throttled_periods": throttled, "throttled_ns": 10**9}, "load": None}
    if not latency:
        del of["load"]["latency_ns"]
    of["device"] = {"daemons": daemons, "depth": depth}
    if server:
        of["server"] |= {"cpu_ns": int(server_busy * WINDOW_NS), "voluntary_switches": int(sleeps * ios),
                         "daemon_cpu_ns": [int(share * server_busy * WINDOW_NS) for share in (busiest, 1 - busiest)],
                         "fetch_batch": sizes_of(fetch), "commit_batch": sizes_of(fetch)}
    else:
        of["server"] = None
        of["device"] = {"path": "/dev/ublkb0"}
    probed = {
        "latency": {"stages_ns": {name: {"sum": share * 10**7} for name, share in stages.items()}},
        "tags": {"completed_ios": ios, "tag_waits": int(tag_waits * ios)},
        "wakeups": {"completed_ios": ios, "elapsed_ns": WINDOW_NS, "tasks": [
            {"sleeps": int(sleeps * ios), "on_cpu_ns": int(busiest * server_busy * WINDOW_NS)},
            {"sleeps": 0, "on_cpu_ns": int((1 - busiest) * server_busy * WINDOW_NS)}]},
        "batch": {"fetch_batch": sizes_of(fetch)}}
    probed["latency"]["stages_ns"]["total"] = {"sum": sum(stages.values()) * 10**7}
    probed["latency"]["stages_ns"]["dispatch"] |= {"max": longest_dispatch_ns, "p50": 10**5}
    if probes:
        of["probe"] = {"record": {"schema": "ublkbench.probe/1", "window_ns": WINDOW_NS,
                                  "subject": {"devices": [{"depth": depth}]},
                                  "probes": {name: probed[name] for name in probes}}}
    return of


def older(of):
    """As it was recorded before the probes were told of the window: attached for twice as long, over twice the I/Os."""
    record = of["probe"]["record"]
    del of["block"], of["cpu_quota"], record["window_ns"]
    for probe in record["probes"].values():
        if "completed_ios" in probe:
            probe["completed_ios"] *= 2
        if "tag_waits" in probe:
            probe["tag_waits"] *= 2
        for task in probe.get("tasks", ()):
            task["sleeps"] *= 2
            task["on_cpu_ns"] *= 2
    record["probes"].get("wakeups", {}).pop("elapsed_ns", None)
    if of["server"]:
        del of["server"]["daemon_cpu_ns"]
    return of


class Explain(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ublkbench.")
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "run.json"

    def write(self, *samples, jobs=1, cells=(CELL,), cpus="0-3", **run):
        record = records.record(cells, samples, icount=False, jobs=jobs, **run)
        record["env"]["key_fields"]["cpu"]["online"] = cpus
        records.write(self.path, record)

    def explain(self, *words, exit=0):
        done = records.ublkbench("explain", self.path, *words)
        self.assertEqual(done.returncode, exit, done.stdout + done.stderr)
        return done

    def cell(self, *samples, **run):
        self.write(*samples, **run)
        return json.loads(self.explain("--json").stdout)["cells"][0]

    def verdict(self, *samples, **run):
        return self.cell(*samples, **run)["verdict"]


def stages(**shares):
    """The rest is complete's."""
    return {name: shares.get(name, 0) for name in STAGES} | {"complete": 100 - sum(shares.values())}


class Verdicts(Explain):
    def check(self, name, provoked, near_miss, run=None, near_run=None):
        found = self.cell(sample(**provoked), **(run or {}))
        self.assertEqual(found["verdict"], name, found)
        for condition in found["found"][0]["rests_on"]:
            self.assertEqual(condition["value"], found["figures"][condition["figure"]])
        self.assertTrue(found["found"][0]["try"])
        self.assertEqual(found["not_looked_at"], [])
        near = self.cell(sample(**near_miss), **(near_run or run or {}))
        self.assertEqual(near["verdict"], "none", near)

    def test_none(self):
        self.assertEqual(self.verdict(sample()), "none")

    def test_server_saturated(self):
        self.check("server_saturated", {"server_busy": 0.86}, {"server_busy": 0.84})

    def test_one_task_of_many_is_saturated(self):
        self.check("server_saturated", {"server_busy": 1.0, "daemons": 4, "busiest": 0.9},
                   {"server_busy": 1.0, "daemons": 4, "busiest": 0.5})

    def test_client_saturated(self):
        self.check("client_saturated", {"client_busy": 0.86}, {"client_busy": 0.84})

    def test_jobs_on_one_cpu_saturate_it_together(self):
        busy = sample(client_busy=0.9)
        busy["load"]["usage_per_job"] = [{"cpu_ns": 3 * 10**8}] * 3
        for pinned, verdict in (([2, 2, 2], "client_saturated"), ([1, 2, 3], "none"), ([], "none")):
            self.assertEqual(self.verdict(busy, jobs=3, work={"load_cpus": pinned}), verdict, pinned)

    def test_the_busier_of_two(self):
        for client, server, first in ((0.9, 0.95, "server_saturated"), (0.95, 0.9, "client_saturated")):
            found = self.cell(sample(client_busy=client, server_busy=server))
            self.assertEqual(found["verdict"], first)
            self.assertEqual({rule["name"] for rule in found["found"]}, {"server_saturated", "client_saturated"})

    def test_tag_starved(self):
        self.check("tag_starved", {"tag_waits": 0.06}, {"tag_waits": 0.04}, run={"jobs": 4})

    def test_who_wants_no_more_than_there_are_tags_is_not_starved(self):
        self.assertEqual(self.verdict(sample(tag_waits=0.9), jobs=1), "none")

    def test_waiting_on_backend(self):
        self.check("waiting_on_backend", {"stages": stages(target=51)}, {"stages": stages(target=49)})

    def test_a_target_that_burns_cpu_is_the_server(self):
        self.assertEqual(self.verdict(sample(stages=stages(target=90), server_busy=0.9)), "server_saturated")

    def test_more_tags_before_a_faster_target(self):
        found = self.cell(sample(stages=stages(target=90), tag_waits=1), jobs=4)
        self.assertEqual([rule["name"] for rule in found["found"]], ["tag_starved", "waiting_on_backend"])

    def test_stages_that_were_not_told_apart_are_no_targets(self):
        for unsplit, verdict in ((500, "waiting_on_backend"), (501, "cannot_tell")):
            of = sample(stages=stages(target=90))
            of["probe"]["record"]["probes"]["latency"]["totals"] = {"finished_ios": 10000, "unsplit_ios": unsplit}
            self.assertEqual(self.verdict(of), verdict, unsplit)
        # How long one waited for its dispatch is known of all.
        of = sample(longest_dispatch_ns=11 * 10**8)
        of["probe"]["record"]["probes"]["latency"]["totals"] = {"finished_ios": 10000, "unsplit_ios": 10000}
        self.assertEqual(self.verdict(of), "server_stalled")

    def test_batch_too_small(self):
        self.check("batch_too_small", {"fetch": 1.9}, {"fetch": 2.0})

    def test_one_of_few_in_flight_is_no_small_batch(self):
        self.assertEqual(self.verdict(sample(fetch=1.0, in_flight=7)), "none")

    def test_wakeup_bound(self):
        self.check("wakeup_bound", {"sleeps": 0.6, "stages": stages(dispatch=20, wake=6)},
                   {"sleeps": 0.6, "stages": stages(dispatch=20, wake=4)})
        self.assertEqual(self.verdict(sample(sleeps=0.4, stages=stages(dispatch=40))), "none")

    def test_cpus_saturated(self):
        busy = {"server_busy": 0.5, "client_busy": 0.45}
        self.check("cpus_saturated", busy, busy, run={"cpus": "0"}, near_run={"cpus": "0-1"})

    def test_server_stalled(self):
        self.check("server_stalled", {"longest_dispatch_ns": 11 * 10**8}, {"longest_dispatch_ns": 9 * 10**8})

    def test_a_server_that_stops_with_all_in_its_hands(self):
        """Then nothing waits to be dispatched, and the target has done its part."""
        for stage, verdict in (("wake", "server_stalled"), ("server", "server_stalled"), ("commit", "server_stalled"),
                               ("target", "none"), ("complete", "none")):
            of = sample()
            of["probe"]["record"]["probes"]["latency"]["stages_ns"][stage] |= {"max": 11 * 10**8, "p50": 10**5}
            self.assertEqual(self.verdict(of), verdict, stage)

    def test_a_second_of_a_long_window_is_no_stall(self):
        for longest_s, verdict in ((1.9, "none"), (2.1, "server_stalled")):
            long_run = sample(longest_dispatch_ns=int(longest_s * 10**9))
            long_run["load"]["window_ns"] *= 10
            long_run["load"]["latency_ns"]["sum"] *= 10
            self.assertEqual(self.verdict(long_run), verdict)

    def test_all_that_wait_long_are_a_queue(self):
        slow = sample(longest_dispatch_ns=2 * 10**9)
        slow["probe"]["record"]["probes"]["latency"]["stages_ns"]["dispatch"]["p50"] = 10**8
        self.assertEqual(self.verdict(slow), "none")

    def test_throttled(self):
        self.check("server_throttled", {"throttled": 20}, {"throttled": 19})
        found = self.cell(sample(throttled=97))
        self.assertEqual(found["found"][0]["rests_on"][0] | {"at_least": 0},
                         {"figure": "server_throttled", "value": 0.97, "at_least": 0})
        self.assertEqual(found["figures"]["server_quota_cpus"], 0.05)
        self.assertIn("CPU quota of its cgroup", found["headline"])

    def test_a_throttled_server_is_not_one_that_stands_still_or_sleeps(self):
        for other in ({"longest_dispatch_ns": 11 * 10**8}, {"sleeps": 0.9, "stages": stages(dispatch=60)}):
            self.assertEqual(self.verdict(sample(throttled=90, **other)), "server_throttled", other)

    def test_a_throttled_load(self):
        of = sample()
        of["cpu_quota"]["load"] = {"group": "/", "cpus": 0.5, "periods": 50, "throttled_periods": 50, "throttled_ns": 1}
        self.assertEqual(self.verdict(of), "client_throttled")

    def test_a_quota_of_which_no_period_was_seen(self):
        of = sample(throttled=1)
        of["cpu_quota"]["server"] |= {"periods": 0, "throttled_periods": 0}
        self.assertEqual(self.verdict(of), "none")

    def test_rate_limited(self):
        for rate, verdict in ((10100, "rate_limited"), (11000, "server_saturated"), (0, "server_saturated")):
            self.assertEqual(self.verdict(sample(server_busy=0.9), rate_iops=rate), verdict, rate)


class Figures(Explain):
    def test_each_task_has_its_own_share(self):
        """113 % and 134 % of "the busiest task" were those of two."""
        for server in (True, False):
            found = self.cell(sample(server=server, server_busy=1.34, busiest=0.6))
            self.assertAlmostEqual(found["figures"]["server_busy"], 0.6 * 1.34, msg=server)
            self.assertEqual(found["verdict"], "none", server)
            found = self.cell(sample(server=server, server_busy=1.34, busiest=0.7))
            self.assertEqual(found["verdict"], "server_saturated", server)
            self.assertAlmostEqual(found["figures"]["cpus_busy"], (1.34 + 0.4) / 4, msg=server)

    def test_no_task_is_on_a_cpu_for_longer_than_the_window(self):
        self.assertEqual(self.cell(sample(server=False, server_busy=1.02))["figures"]["server_busy"], 1)
        of = sample(server=False, server_busy=1.2)
        for task in of["probe"]["record"]["probes"]["wakeups"]["tasks"]:
            task["sleeps"] = 0
        self.assertEqual(self.cell(older(of))["figures"]["server_busy"], 1)

    def test_of_several_tasks_none_is_taken_for_all(self):
        """Which the older records could not tell apart."""
        for daemons, verdict in ((1, "server_saturated"), (2, "cannot_tell")):
            of = sample(server_busy=1.34, daemons=daemons, probes=("latency",))
            self.assertEqual(self.verdict(older(of)), verdict, daemons)

    def test_what_is_due_is_not_in_flight(self):
        """An open loop at depth 4 x 2 jobs "had" 8395 I/Os in flight."""
        open_loop = {"rate_iops": 20000, "jobs": 2}
        cell = self.cell(sample(fetch=1.0, in_flight=7.6, wanted=8395), **open_loop)
        self.assertEqual(cell["verdict"], "none")
        self.assertAlmostEqual(cell["figures"]["in_flight_ios"], 7.6)
        self.assertAlmostEqual(cell["figures"]["backlog_ios"], 8387.4)
        self.assertIn("8387.40 I/Os are due and wait in the load", self.explain().stdout)
        # It is what the device has that makes a small batch.
        self.write(sample(fetch=1.0, in_flight=8.5, wanted=8395), **open_loop)
        self.assertRegex(self.explain().stdout, r"(?s)batches are too small.*open loop: 8386.50 I/Os are due")
        # Of a closed loop all that is wanted is in flight.
        self.assertNotIn("backlog_ios", self.cell(sample())["figures"])

    def test_an_older_open_loop_does_not_tell_what_was_in_flight(self):
        cell = self.cell(older(sample(fetch=1.0, wanted=8395)), rate_iops=20000, jobs=2)
        self.assertEqual(cell["verdict"], "cannot_tell")
        self.assertNotIn("in_flight_ios", cell["figures"])
        self.assertEqual(self.cell(older(sample(fetch=1.0)))["figures"]["in_flight_ios"], 8)

    def test_older_records_say_what_their_probes_saw(self):
        self.assertEqual(self.cell(sample())["probed"], "window")
        self.assertEqual(self.cell(older(sample(fetch=1.0)))["probed"], "attached")
        self.assertIn("all the time attached, warm-up included", self.explain().stdout)
        self.assertNotIn("batch_too_small", [rule["name"] for rule in self.cell(older(sample()))["found"]])
        self.assertAlmostEqual(self.cell(older(sample(server=False, server_busy=0.9)))["figures"]["server_busy"], 0.9)


class Missing(Explain):
    def test_a_probe_that_was_there_is_not_asked_for(self):
        unsplit = sample(stages=stages(target=90))
        unsplit["probe"]["record"]["probes"]["latency"]["totals"] = {"finished_ios": 10000, "unsplit_ios": 600}
        none = sample()
        for stage in none["probe"]["record"]["probes"]["latency"]["stages_ns"].values():
            stage["sum"] = 0
        tags = sample()
        del tags["probe"]["record"]["probes"]["tags"]["tag_waits"]
        for of, run, what in ((unsplit, {}, "told apart"), (none, {}, "latency follows"),
                              (tags, {"jobs": 4}, "Linux 7.3")):
            self.assertEqual(self.verdict(of, **run), "cannot_tell", what)
            text = self.explain().stdout
            self.assertIn(what, text)
            self.assertNotIn("--probe", text)

    def test_no_probe_looks_into_what_is_no_ublk_device(self):
        of = sample(server=False, probes=())
        for target, asked in (("/dev/nvme0n1", False), ("/dev/ublkb0", True)):
            cell = records.cell("copy", 32, target=target, kind="external")
            self.write(of | {"cell": cell["id"]}, cells=(cell,))
            self.assertEqual("--probe" in self.explain().stdout, asked, target)

    def test_an_older_record_knows_of_no_quota(self):
        cell = self.cell(older(sample()))
        self.assertEqual(cell["verdict"], "cannot_tell")
        self.assertEqual({rule["name"] for rule in cell["not_looked_at"]}, {"server_throttled", "client_throttled"})

    def test_what_would_tell_is_named(self):
        cell = self.cell(sample(probes=()))
        self.assertEqual(cell["verdict"], "cannot_tell")
        missing = {rule["name"]: rule["add"] for rule in cell["not_looked_at"]}
        self.assertEqual(missing, {"server_stalled": ["--probe latency"], "waiting_on_backend": ["--probe latency"]})
        self.write(sample(probes=()))
        self.assertRegex(self.explain().stdout, r"cannot tell; missing: --probe latency\n")

    def test_tags_are_asked_for_where_clients_want_more_than_there_are(self):
        cell = self.cell(sample(probes=("latency",)), jobs=4)
        self.assertEqual([(rule["name"], rule["add"]) for rule in cell["not_looked_at"]],
                         [("tag_starved", ["--probe tags (Linux 7.3)"])])

    def test_a_verdict_stands_without_the_rest(self):
        cell = self.cell(sample(probes=(), server_busy=0.9))
        self.assertEqual(cell["verdict"], "server_saturated")
        self.assertIn("server_stalled", [rule["name"] for rule in cell["not_looked_at"]])

    def test_somebody_elses_server_is_seen_without_probes(self):
        """Its tasks' CPU time, and no advice to use options that only our server has."""
        cell = records.cell("copy", 32, target="/dev/ublkb0", kind="external")
        for busiest, expected in ((0.9, "server_saturated"), (0.5, "cannot_tell")):
            of = sample(server=False, probes=()) | {"cell": cell["id"], "server_process": {
                "pid": 7, "name": "theirs", "cpu_ns": int(1.2 * WINDOW_NS), "tasks": [
                    {"task": 7, "name": "theirs", "cpu_ns": int(busiest * WINDOW_NS)},
                    {"task": 8, "name": "theirs", "cpu_ns": int((1.2 - busiest) * WINDOW_NS)}]}}
            found = self.cell(of, cells=(cell,))
            self.assertEqual(found["verdict"], expected)
            self.assertAlmostEqual(found["figures"]["server_busy"], max(busiest, 1.2 - busiest))
            for rule in found["found"]:
                self.assertNotIn("--queues", rule["try"])
                self.assertNotIn("--server-cpus", rule["try"])

    def test_somebody_elses_server_is_seen_by_the_probes(self):
        self.assertEqual(self.verdict(sample(server=False, server_busy=0.9)), "server_saturated")
        self.assertEqual(self.verdict(sample(server=False, fetch=1.0)), "batch_too_small")
        cell = self.cell(sample(server=False, server_busy=0.9, probes=("latency",)))
        self.assertEqual(cell["verdict"], "cannot_tell")
        self.assertIn("--probe wakeups", {add for rule in cell["not_looked_at"] for add in rule["add"]})

    def test_what_the_page_cache_serves_is_not_the_servers(self):
        buffered = {"work": {"direct": False}}
        for ours in (True, False):
            slow = older(sample(server=ours, server_busy=0.01))
            for task in slow["probe"]["record"]["probes"]["wakeups"]["tasks"]:
                task["on_cpu_ns"] *= 100  # of each of the few I/Os that it gets
            self.assertNotIn("server_saturated", [rule["name"] for rule in self.cell(slow, **buffered)["found"]])

    def test_no_latencies(self):
        of = sample(latency=False, fetch=1.0)
        self.assertEqual(self.verdict(of), "batch_too_small")  # the block layer knows without them
        of["block"] = None
        cell = self.cell(of)
        self.assertEqual(cell["verdict"], "cannot_tell")
        self.assertEqual(cell["not_looked_at"], [{"name": "batch_too_small", "missing": ["in_flight_ios"],
                                                  "add": ["latencies (no --no-latency)"]}])

    def test_nothing_was_measured(self):
        failed = {"cell": CELL["id"], "round": 0, "order": 0, "status": "failed", "elapsed_ns": 1,
                  "reason": "hang: the device completed nothing any more"}
        cell = self.cell(failed)
        self.assertEqual(cell["verdict"], "not_measured")
        self.write(failed)
        self.assertRegex(self.explain().stdout, "no sample is good: hang")


class Samples(Explain):
    def test_the_verdict_of_most(self):
        cell = self.cell(sample(0, server_busy=0.9), sample(1), sample(2, server_busy=0.87))
        self.assertEqual((cell["verdict"], cell["samples"]), ("server_saturated", {"judged": 3, "agree": 2}))
        self.assertAlmostEqual(cell["figures"]["server_busy"], 0.9)
        self.write(sample(0, server_busy=0.9), sample(1), sample(2, server_busy=0.87))
        self.assertIn("the server is saturated (2 of 3 samples)", self.explain().stdout)

    def test_as_many_of_two(self):
        self.assertEqual(self.verdict(sample(0, server_busy=0.9), sample(1)), "samples_disagree")


class Text(Explain):
    def test_figures_limits_and_what_to_try(self):
        self.write(sample(tag_waits=0.5, stages=stages(target=80)), jobs=4)
        text = self.explain().stdout
        self.assertRegex(text, r"(?m)^copy .*: the device is tag-starved$")
        self.assertIn("0.50 waits for a tag per I/O (from 0.05)", text)
        self.assertRegex(text, r"(?m)^  try: a deeper queue")
        self.assertRegex(text, r"(?m)^  also: the server waits for its target: 80 %")

    def test_controls_and_filters(self):
        other = records.cell("batch", 32)
        control = records.cell(depth=32, target="null_blk", kind="control")
        for_other = sample() | {"cell": other["id"]}
        self.write(sample(), for_other, cells=(CELL, other, control))
        self.assertEqual(len(json.loads(self.explain("--json").stdout)["cells"]), 2)
        filtered = json.loads(self.explain("--json", "--filter", "mode=batch").stdout)["cells"]
        self.assertEqual([cell["cell"] for cell in filtered], [other["id"]])

    def test_bad_input(self):
        self.write(sample())
        self.assertRegex(self.explain("--filter", "mode=zc", exit=2).stderr, "no cell is left")
        self.assertRegex(self.explain("--filter", "nonsense", exit=2).stderr, "^ublkbench: ")
        damaged = sample()
        del damaged["probe"]["record"]["probes"]["latency"]["stages_ns"]["wake"]
        self.write(damaged)
        self.assertRegex(self.explain(exit=2).stderr, r"^ublkbench: .*latency\.stages_ns\.wake is missing")
        self.path.write_text("{")
        self.assertEqual(self.explain(exit=2).stdout, "")


if __name__ == "__main__":
    unittest.main()
