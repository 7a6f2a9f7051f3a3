// SPDX-License-Identifier: MIT
#include "bench/record/fields.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

#include "bench/load/report.hpp"
#include "bench/record/record_codec.hpp"
#include "bench/record/sample_record.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

probed::Document some_document() {
  probed::Document document{.kernel = "7.3.4", .attached_ns = 9, .window_ns = 7};
  document.ending = probed::Ending::device_removed;
  document.subject.devices = {{.id = 3, .queues = 1, .depth = 128, .flags = {"UBLK_F_BATCH_IO"}}};
  probed::Batch& batch = document.probes.batch.emplace();
  batch.used = {{.role = "commits", .hooks = {"a", "b"}, .remark = {}}};
  batch.fetch_batch = EventSizes{{{2, 5}}};
  batch.parts.emplace_back().size_events = {{2, 5}};
  batch.totals.fetched_ios = 10;
  probed::Latency& latency = document.probes.latency.emplace();
  latency.stages_ns.emplace().wake = {.count = 1, .sum = 40, .slots = {{40, 1}}};
  latency.ops_ns["read"] = *latency.stages_ns;
  latency.sizes = {{.op = "read", .size = "4k", .ios = 1, .stages_ns = *latency.stages_ns}};
  latency.totals.in_flight_at_end_ios = 2;
  probed::Calls& tags = document.probes.tags.emplace();
  tags.tag_waits = 0;
  tags.fifo_tags_events = SizeEvents{{0, 1}, {1ULL << 40, 2}};
  tags.in_flight = {{.device = 3, .looks = 1, .mean = 0.5, .series = {{.at_ns = 1, .max = 2}}}};
  document.probes.syscalls.emplace().tasks = {{.task = {7, "a"}, .role = probed::Role::server}};
  document.probes.wakeups.emplace().wakers = {{.task = {7, "a"}, .waker = "b", .wakes = 1}};
  document.probes.interrupts.emplace().vectors = {{.vector = 4, .name = "nvme"}};
  return document;
}

SampleRecord some_sample() {
  SampleRecord sample{.cell = "copy null qd=1", .round = 2, .order = 5, .elapsed_ns = 77};
  sample.device = MeasuredDevice{.id = 3,
                                 .queues = 1,
                                 .flags_granted = {{"UBLK_F_BATCH_IO"}},
                                 .queue_limits = {R"({"nr_requests":128})"},
                                 .scheduler = SchedulerChoice{.asked = "none", .found = "none"}};
  sample.hang_dump = HangDump{.reason = "off"};
  sample.verify = Verification{.status = Verification::Status::passed,
                               .checked = Verification::Checked::completions};
  sample.data = WrittenData{.written_bytes = 1, .bytes = 2, .in_memory = true};
  sample.page_cache = PageCacheUse{.start = PageCacheUse::Start::as_found, .load_read_bytes = 9};
  sample.load = LoadReport{.measured_ios = 90, .window_ns = 9'000'000};
  sample.load->first_error = IoError{{.job = 1, .offset = 4096, .operation = Operation::write}, 5};
  load::Counts counts;
  counts.read_latency_ns.record(1000, 60);
  counts.submit_batch.record(3, 30);
  load::add_counts(counts, true, *sample.load);
  sample.load->usage_per_job = {{.cpu_ns = 1}, {.cpu_ns = 2, .instructions = 3}};
  sample.server = ServerUsage{.fetched_ios = 90};
  sample.server->fetch_batch = {{{1, 30}, {2, 30}}};
  sample.server_process = ProcessUsage{.pid = 9, .name = "a", .tasks = {{.task = 9}}};
  sample.block = BlockUse{.completed_ios = 90, .in_flight_mean = 0.25};
  sample.cpu_quota = QuotaUse{.server = {}, .load = CpuQuota{.group = "/a", .cpus = 0.5}};
  sample.probe = ProbeRecord{.record = some_document(), .text = "a \xff", .brief = {}};
  sample.per_io = PerIo{.load_cpu_ns = 1.5};
  return sample;
}

TEST(Fields, AreReadAsTheyWereWritten) {
  const SampleRecord sample = some_sample();
  const std::string text = record_text(sample);
  const auto back = record_of_text<SampleRecord>(text, "it");
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(record_text(*back), text);
  EXPECT_EQ(back->load->latency_ns, sample.load->latency_ns);
  EXPECT_EQ(back->load->usage_per_job[1].instructions, 3U);
  EXPECT_EQ(back->server->fetch_batch.size_events, (SizeEvents{{1, 30}, {2, 30}}));
  EXPECT_EQ(back->device->queue_limits, sample.device->queue_limits);
  EXPECT_EQ(back->page_cache->start, PageCacheUse::Start::as_found);
}

TEST(Fields, OfTheProbesAreReadAsTheyWereWritten) {
  const auto back =
      record_of_text<probed::Document>(record_text(some_document()), "ublk-probe's record");
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(record_text(*back), record_text(some_document()));
  const probed::Records& probes = back->probes;
  EXPECT_EQ(probes.latency->stages_ns->of(probed::Stage::wake).sum, 40U);
  EXPECT_EQ(probes.latency->ops_ns.at("read").wake.slots.size(), 1U);
  EXPECT_EQ(probes.tags->fifo_tags_events->at(1ULL << 40), 2U);
  EXPECT_EQ(probes.tags->tag_waits, 0U);
  EXPECT_FALSE(probes.tags->timeouts);
  EXPECT_EQ(probes.syscalls->tasks.at(0).role, probed::Role::server);
  EXPECT_FALSE(probes.zc);
  EXPECT_EQ(back->ending, probed::Ending::device_removed);
}

TEST(Fields, NothingIsNullOnlyWhereTheListSaysSo) {
  const json object = to_json(SampleRecord{.cell = "a"});
  EXPECT_TRUE(object.at("server").is_null());
  EXPECT_FALSE(object.contains("load"));
  const json device = to_json(some_sample()).at("device");
  EXPECT_TRUE(device.at("scheduler").at("in_force").is_null());
  EXPECT_FALSE(device.at("scheduler").contains("why_not"));
}

TEST(Fields, WhatFollowsIsWrittenAndNotRead) {
  json object = to_json(some_sample());
  EXPECT_EQ(object["load"]["iops"], 10'000);
  EXPECT_EQ(object["load"]["first_error"]["message"],
            "write at byte 4096 failed: Input/output error");
  object["load"]["iops"] = 7;
  const auto back = record_of_text<SampleRecord>(json_text(object), "it");
  ASSERT_TRUE(back);
  EXPECT_DOUBLE_EQ(back->load->iops(), 10'000);
}

TEST(Fields, WhatIsWrongIsNamedWithItsPlace) {
  const auto error_with = [](const char* pointer, const json& value) {
    json object = to_json(some_sample());
    object[json::json_pointer(pointer)] = value;
    const auto read = record_of_text<SampleRecord>(json_text(object), "it");
    return read ? std::string("none") : read.error().operation;
  };
  EXPECT_EQ(error_with("/round", -1), "it: round is no count");
  EXPECT_EQ(error_with("/round", 1.5), "it: round is no count");
  EXPECT_EQ(error_with("/round", 1e3), "none") << "a whole number, however it is written";
  EXPECT_EQ(error_with("/status", "tired"), "it: status 'tired' is unknown");
  EXPECT_EQ(error_with("/cell", 1), "it: cell is no string");
  EXPECT_EQ(error_with("/load", 1), "it: load is no object");
  EXPECT_EQ(error_with("/load/measured_ios", nullptr), "it: load.measured_ios is missing");
  EXPECT_EQ(error_with("/load/usage_per_job", 1), "it: load.usage_per_job is no list");
  EXPECT_EQ(error_with("/load/latency_ns/slots/0", 1), "it: load.latency_ns.slots is no pair");
  EXPECT_EQ(error_with("/block/in_flight_mean", -1),
            "it: block.in_flight_mean is no number of at least 0");
  EXPECT_EQ(error_with("/data/in_memory", 1), "it: data.in_memory is neither true nor false");
  EXPECT_EQ(error_with("/device/id", 1ULL << 40), "it: device.id is no count");
}

TEST(Fields, MissingOnesKeepWhatTheyWereUnlessTheyAreRequired) {
  const auto without = [](const char* name) {
    json object = to_json(some_sample());
    object.erase(name);
    return record_of_text<SampleRecord>(json_text(object), "it");
  };
  ASSERT_TRUE(without("load"));
  EXPECT_FALSE(without("load")->load);
  ASSERT_FALSE(without("elapsed_ns"));
  EXPECT_EQ(without("elapsed_ns").error().operation, "it: elapsed_ns is missing");
}

template <HasFields Record>
std::set<std::string> names_in() {
  std::set<std::string> names;
  for_each_field<Record>([&](const auto& each) { names.emplace(each.name); });
  return names;
}

std::set<std::string> keys_of(const json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

/// The schema is for people and for readers elsewhere; this is what holds it to the lists.
class Schema : public testing::Test {
 protected:
  template <HasFields Record>
  void expect_covers(const json& schema) {
    const auto names = names_in<Record>();
    for (const std::string& key : keys_of(schema["properties"]))
      EXPECT_TRUE(names.contains(key)) << key << " is no field";
    for (const json& key : schema.value("required", json::array()))
      EXPECT_TRUE(names.contains(key.get<std::string>())) << key << " is required and no field";
    if (schema.value("additionalProperties", true)) return;
    EXPECT_EQ(names, keys_of(schema["properties"]));
  }

  const json schema_ = json::parse(std::ifstream(UBLKBENCH_RUN_SCHEMA));
};

TEST_F(Schema, HasTheFieldsOfASample) {
  const json& sample = schema_["$defs"]["sample"];
  EXPECT_EQ(keys_of(sample["properties"]), names_in<SampleRecord>());
  expect_covers<SampleRecord>(sample);
  const json& parts = sample["properties"];
  expect_covers<MeasuredDevice>(parts["device"]);
  expect_covers<SchedulerChoice>(parts["device"]["properties"]["scheduler"]);
  expect_covers<HangDump>(parts["hang_dump"]);
  expect_covers<Verification>(parts["verify"]);
  expect_covers<WrittenData>(parts["data"]);
  expect_covers<PageCacheUse>(parts["page_cache"]);
  expect_covers<BlockUse>(parts["block"]);
  expect_covers<QuotaUse>(parts["cpu_quota"]);
  expect_covers<ProcessUsage>(parts["server_process"]);
  expect_covers<ProbeRecord>(parts["probe"]);
}

TEST_F(Schema, HasTheFieldsOfTheProbes) {
  const json& shared = schema_["$defs"];
  expect_covers<probed::Document>(shared["probe_document"]);
  expect_covers<probed::Subject>(shared["probe_document"]["properties"]["subject"]);
  expect_covers<probed::Device>(shared["probed_device"]);
  expect_covers<probed::Records>(shared["probes"]);
  expect_covers<probed::UsedHooks>(shared["used_hooks"]["items"]);
  expect_covers<probed::MissingHooks>(shared["missing_hooks"]["items"]);
  expect_covers<probed::TaskName>(shared["task_name"]);
  expect_covers<probed::Missed>(shared["missed"]);
  expect_covers<probed::Batch>(shared["probe_batch"]);
  expect_covers<probed::BatchPart>(shared["batch_part"]);
  expect_covers<probed::BatchTotals>(shared["batch_totals"]);
  expect_covers<probed::Latency>(shared["probe_latency"]);
  expect_covers<probed::StageTimes>(shared["stage_times"]);
  expect_covers<probed::SizeLatency>(shared["size_latency"]);
  expect_covers<probed::QueueLatency>(shared["queue_latency"]);
  expect_covers<probed::LatencyTotals>(shared["latency_totals"]);
  expect_covers<probed::Calls>(shared["probe_calls"]);
  expect_covers<probed::HeldBuffer>(shared["held_buffer"]);
  expect_covers<probed::InFlight>(shared["in_flight"]);
  expect_covers<probed::InFlightInterval>(shared["in_flight_interval"]);
  expect_covers<probed::Syscalls>(shared["probe_syscalls"]);
  expect_covers<probed::SyscallsTask>(shared["syscalls_task"]);
  expect_covers<probed::Wakeups>(shared["probe_wakeups"]);
  expect_covers<probed::WakeupsTask>(shared["wakeups_task"]);
  expect_covers<probed::Waker>(shared["waker"]);
  expect_covers<probed::Interrupts>(shared["probe_interrupts"]);
  expect_covers<probed::InterruptVector>(shared["interrupt_vector"]);
  expect_covers<probed::InterruptTotals>(shared["interrupt_totals"]);
}

TEST_F(Schema, HasTheFieldsOfWhatSamplesShare) {
  const json& shared = schema_["$defs"];
  expect_covers<LoadReport>(shared["load"]);
  expect_covers<ServerUsage>(shared["server"]);
  expect_covers<CpuQuota>(shared["quota"]);
  expect_covers<EventSizes>(shared["batch"]);
  expect_covers<Distribution>(shared["histogram"]);
}

}  // namespace
}  // namespace ublkbench
