// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/base/json_text.hpp"
#include "bench/record/record_codec.hpp"
#include "bench/suite/child.hpp"
#include "bench/suite/plan.hpp"
#include "bench/suite/store.hpp"
#include "bench/suite/usage.hpp"
#include "bench/suite/work.hpp"
#include "bench/suite/writing.hpp"
#include "tests/unit/run_document.hpp"
#include "tests/unit/temp_file.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

using test::sample;
using test::two_modes;

TEST(Plan, IsTheCrossProductWithOneControlPerLoad) {
  const auto plan = make_plan(two_modes());
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->cells.size(), 2U * 2 + 2);
  EXPECT_EQ(plan->samples(), 18U);
  EXPECT_EQ(plan->cells.back().kind, Cell::Kind::control);
}

TEST(Plan, EveryRoundHasEveryCellOnce) {
  const auto plan = make_plan(two_modes());
  ASSERT_TRUE(plan);
  for (const auto& round : plan->rounds)
    EXPECT_EQ(std::set<std::size_t>(round.begin(), round.end()).size(), plan->cells.size());
  EXPECT_NE(plan->rounds[0], plan->rounds[1]);
}

TEST(Plan, SameSeedGivesTheSameOrder) {
  RunOptions options = two_modes();
  const auto first = make_plan(options);
  const auto second = make_plan(options);
  EXPECT_EQ(first->rounds, second->rounds);
  options.seed = 2;
  EXPECT_NE(make_plan(options)->rounds, first->rounds);
}

TEST(Plan, RefusesBeforeAnythingIsTouched) {
  RunOptions options = two_modes();
  options.block_bytes = {2 << 20};
  auto plan = make_plan(options);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message(), HasSubstr("block size 2M is larger than"));
  EXPECT_EQ(plan.error().exit, ExitCode::usage);

  options = two_modes();
  options.modes.push_back(*parse_mode("batch,get_data"));
  EXPECT_THAT(make_plan(options).error().message(), HasSubstr("drops UBLK_F_NEED_GET_DATA"));

  options = two_modes();
  options.modes.push_back(options.modes.front());
  EXPECT_THAT(make_plan(options).error().message(), HasSubstr("asked for twice"));
}

TEST(Plan, SomebodyElsesDeviceIsWrittenOnlyOnRequest) {
  RunOptions options = two_modes();
  options.device = "/dev/ublkb7";
  options.patterns = {load::Pattern::randwrite};
  EXPECT_FALSE(make_plan(options));
  options.load.destructive = true;
  const auto plan = make_plan(options);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->cells.front().kind, Cell::Kind::external);
}

/// A file of the test's own, as a user's.
class UsersFile : public testing::Test {
 protected:
  test::TempFile file_{8 << 20};
  RunOptions options_ = [this] {
    RunOptions options = two_modes();
    options.control = "none";
    options.targets = {"loop:" + file_.path()};
    return options;
  }();
};

TEST_F(UsersFile, IsOnlyReadAndServedReadOnly) {
  for (const char* suffix : {"", "+fault:delay=1ms"}) {
    options_.targets = {"loop:" + file_.path() + suffix};
    const auto plan = make_plan(options_);
    ASSERT_TRUE(plan) << plan.error().message();
    for (const Cell& cell : plan->cells) {
      EXPECT_EQ(cell.data.owner, DataOwner::user);
      EXPECT_EQ(not_verified(options_, cell), "needs --destructive");
      EXPECT_TRUE(serve_options(options_, cell).device.read_only);
      EXPECT_FALSE(load_options(options_, cell, "-").destructive);
    }
  }
}

TEST_F(UsersFile, IsWrittenOnlyOnRequest) {
  options_.verify = VerifyPolicy::on;
  EXPECT_THAT(make_plan(options_).error().message(),
              HasSubstr("--verify on overwrites target loop:" + file_.path()));
  options_.verify = VerifyPolicy::off;
  options_.patterns = {load::Pattern::randread, load::Pattern::randrw};
  const auto refused = make_plan(options_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().exit, ExitCode::usage);
  EXPECT_THAT(refused.error().message(), HasSubstr("'randrw' overwrites target loop:"));
  options_.verify = VerifyPolicy::automatic;
  options_.load.destructive = true;
  const auto plan = make_plan(options_);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(not_verified(options_, plan->cells.front()), "");
  EXPECT_FALSE(serve_options(options_, plan->cells.front()).device.read_only);
}

TEST_F(UsersFile, AControlGivenByPathIsTheUsersToo) {
  options_.targets = {"mem:8M"};
  options_.control = file_.path();
  ASSERT_TRUE(make_plan(options_));
  options_.patterns = {load::Pattern::write};
  EXPECT_THAT(make_plan(options_).error().message(),
              HasSubstr("'write' overwrites " + file_.path()));
  options_.control = "null_blk";
  EXPECT_TRUE(make_plan(options_));
}

TEST(Data, EachTargetSaysWhoseItIs) {
  const auto owner = [](const char* spec) { return data_of_target(spec)->owner; };
  EXPECT_EQ(owner("null"), DataOwner::none);
  EXPECT_EQ(owner("null:1G+fault:delay=1ms"), DataOwner::none);
  EXPECT_EQ(owner("mem:8M"), DataOwner::run);
  EXPECT_EQ(owner("mem:8M+fault:cache=volatile"), DataOwner::run);
  EXPECT_EQ(owner("zoned:64M"), DataOwner::run);
}

TEST(Data, ACellThatNothingIsKnownOfIsTheUsers) {
  EXPECT_FALSE(may_write(two_modes(), Cell{.target = "mem:8M"}));
}

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/store-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  static RunRecord run(const char* id = "1") { return run(RunRecord{.id = id, .started = {}}); }
  static RunRecord run(RunRecord of) {
    of.tool.commit = "unknown";
    return of;
  }
  static Environment env(const char* release) {
    Environment environment;
    environment.key_fields.kernel.release = release;
    return environment;
  }
  std::string folder_;
  Plan plan_ = *make_plan(two_modes());
};

TEST_F(StoreTest, ResumesFromAFolderWithATornLine) {
  const StoreOptions options{.folder = folder_};
  {
    auto store = Store::open(options, run("first"), env("7.3"), plan_);
    ASSERT_TRUE(store) << store.error().message();
    const auto good = record_of_text<SampleRecord>(json_text(sample(plan_.cells[0].name(), 0, 1)),
                                                   "made by hand");
    ASSERT_TRUE(good) << good.error().message();
    ASSERT_TRUE(store->add(*good));
    SampleRecord bad{.cell = plan_.cells[1].name(), .status = SampleStatus::failed, .reason = "-"};
    ASSERT_TRUE(store->add(bad));
  }
  std::ofstream(folder_ + "/samples.jsonl", std::ios::app) << R"({"cell": "half)";
  StoreOptions again = options;
  again.resume = true;
  auto store = Store::open(again, run("second"), env("7.3"), plan_);
  ASSERT_TRUE(store) << store.error().message();
  EXPECT_EQ(store->resumed(), 1U);
  EXPECT_TRUE(store->has(plan_.cells[0].name(), 0));
  EXPECT_FALSE(store->has(plan_.cells[1].name(), 0)) << "a failed sample is measured again";
  EXPECT_EQ(json::parse(store->document())["run"]["id"], "first");
  EXPECT_EQ(store->results()->cells[0].samples.size(), 1U);
}

TEST_F(StoreTest, KeepsWhatTheTableCannotShow) {
  const StoreOptions options{.json_path = folder_ + "/run.json"};
  auto store = Store::open(options, run("1"), env("7.3"), plan_);
  ASSERT_TRUE(store);
  const SampleRecord without_load{.cell = plan_.cells[0].name(), .status = SampleStatus::ok};
  ASSERT_TRUE(store->add(without_load));
  SampleRecord failed{.cell = plan_.cells[1].name(), .status = SampleStatus::failed, .reason = "-"};
  ASSERT_TRUE(store->add(failed));
  std::ifstream file(options.json_path);
  EXPECT_EQ(json::parse(file)["samples"].size(), 2U);
  const auto results = store->results();
  ASSERT_FALSE(results);
  EXPECT_NE(results.error().message().find("load is missing"), std::string::npos)
      << results.error().message();
}

TEST_F(StoreTest, RefusesToMixEnvironmentsOrMatrices) {
  const StoreOptions options{.json_path = folder_ + "/run.json", .resume = true};
  ASSERT_TRUE(Store::open(options, run("1"), env("7.3"), plan_));
  const auto other = Store::open(options, run("2"), env("6.12"), plan_);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(),
              HasSubstr(R"(env.kernel.release: record "7.3", asked "6.12")"));
  RunOptions changed = two_modes();
  changed.depths = {4};
  const auto cells = Store::open(options, run("3"), env("7.3"), *make_plan(changed));
  ASSERT_FALSE(cells);
  EXPECT_THAT(cells.error().message(),
              HasSubstr(R"(cell "copy null qd=4 bs=4k randread": record no, asked yes)"));
  EXPECT_THAT(cells.error().message(),
              HasSubstr(R"(cell "copy null qd=1 bs=4k randread": record yes, asked no)"));
}

/// Every option that decides the work, changed alone, and what its difference must name.
struct Change {
  const char* name;
  void (*make)(RunOptions& options);
};

TEST_F(StoreTest, RefusesOtherWorkAndNamesAllOfIt) {
  const Change changes[] = {
      {"ios: record 1000, asked 2000", [](RunOptions& o) { o.load.ios = 2000; }},
      {"runtime_ns", [](RunOptions& o) { o.load.runtime_ns = 1, o.load.ios = 0; }},
      {"warmup_ios: record null, asked 7", [](RunOptions& o) { o.load.warmup_ios = 7; }},
      {"jobs: record 1, asked 2", [](RunOptions& o) { o.load.jobs = 2; }},
      {"queues: record 1, asked 2", [](RunOptions& o) { o.server.queues = 2; }},
      {"daemons: record 1, asked 2", [](RunOptions& o) { o.server.daemons = 2; }},
      {"direct: record true, asked false", [](RunOptions& o) { o.load.direct = false; }},
      {R"(loop: record "closed", asked "open")", [](RunOptions& o) { o.load.rate_iops = 5; }},
      {"rate_iops: record 0, asked 5", [](RunOptions& o) { o.load.rate_iops = 5; }},
      {"submit_batch", [](RunOptions& o) { o.load.submit_batch = 1; }},
      {"complete_batch", [](RunOptions& o) { o.load.complete_batch = 1; }},
      {"load_cpus: record [], asked [1]", [](RunOptions& o) { o.load.job_cpus = {1}; }},
      {"fixed_buffers", [](RunOptions& o) { o.load.fixed_buffers = false; }},
      {"registered_file", [](RunOptions& o) { o.load.registered_file = false; }},
      {"latency_recorded", [](RunOptions& o) { o.load.record_latency = false; }},
      {"hipri", [](RunOptions& o) { o.load.hipri = true; }},
      {"allow_split", [](RunOptions& o) { o.load.allow_split = true; }},
      {"rw_mix_read_percent", [](RunOptions& o) { o.load.rw_mix_read_percent = 9; }},
      {"max_io_bytes", [](RunOptions& o) { o.server.max_io_bytes = 4096; }},
      {R"(server_cpus: record "queue", asked "free")",
       [](RunOptions& o) { o.server.pinning = Pinning::free; }},
      {"spin_us: record 0, asked 9", [](RunOptions& o) { o.server.waiting.spin_us = 9; }},
      {"wait_count", [](RunOptions& o) { o.server.waiting.count = 9; }},
      {"wait_us", [](RunOptions& o) { o.server.waiting.wait_us = 9; }},
      {"wake_by", [](RunOptions& o) { o.server.waiting.wake_by = WakeBy::msg_ring; }},
      {"fetches", [](RunOptions& o) { o.server.batch.fetches_per_queue = 2; }},
      {"fetch_tags", [](RunOptions& o) { o.server.batch.fetch_tags = 2; }},
      {"auto_zc_fallback", [](RunOptions& o) { o.server.auto_zc_fallback = true; }},
      {"seed: record 1, asked 2", [](RunOptions& o) { o.seed = 2; }},
      {R"(verify: record "auto", asked "on")", [](RunOptions& o) { o.verify = VerifyPolicy::on; }},
  };
  const StoreOptions options{.json_path = folder_ + "/run.json", .resume = true};
  ASSERT_TRUE(Store::open(options, run(describe_work(two_modes())), env("7.3"), plan_));
  for (const Change& change : changes) {
    RunOptions other = two_modes();
    change.make(other);
    const auto store = Store::open(options, run(describe_work(other)), env("7.3"), plan_);
    ASSERT_FALSE(store) << change.name;
    EXPECT_EQ(store.error().exit, ExitCode::usage);
    EXPECT_THAT(store.error().message(), HasSubstr(std::string("\n  ") + change.name));
  }
  EXPECT_TRUE(Store::open(options, run(describe_work(two_modes())), env("7.3"), plan_));
}

TEST_F(StoreTest, ResumesWhatHasMoreRoundsAndHangsLater) {
  const StoreOptions options{.json_path = folder_ + "/run.json", .resume = true};
  const auto run_of = [](const RunOptions& asked) { return run(describe_work(asked)); };
  RunOptions asked = two_modes();
  ASSERT_TRUE(Store::open(options, run_of(asked), env("7.3"), *make_plan(asked)));
  asked.repeat = 5;
  asked.load.hang_timeout_ns = 1;
  asked.hang_dump.program = "off";
  EXPECT_TRUE(Store::open(options, run_of(asked), env("7.3"), *make_plan(asked)));
  asked.repeat = 4;
  const auto fewer = Store::open(options, run_of(asked), env("7.3"), *make_plan(asked));
  ASSERT_FALSE(fewer);
  EXPECT_THAT(fewer.error().message(), HasSubstr("repeat: record 5, asked 4"));
}

TEST_F(StoreTest, WhatIsNoRecordIsNotResumed) {
  const std::string path = folder_ + "/run.json";
  for (const char* text : {"[]", "{}", "{", R"({"schema": "other"})",
                           R"({"schema": "ublkbench.run/1", "run": 1, "env": {}, "cells": []})"}) {
    std::ofstream(path) << text;
    const auto store = Store::open({.json_path = path, .resume = true}, run(), env("7.3"), plan_);
    ASSERT_FALSE(store) << text;
    EXPECT_THAT(store.error().message(), HasSubstr("is not a record of a run"));
  }
}

TEST_F(StoreTest, AnOutputThatCannotBeWrittenFailsFirst) {
  const auto store = Store::open({.json_path = "/dev/full"}, run(), env("7.3"), plan_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().exit, ExitCode::usage);
  EXPECT_THAT(store.error().message(), HasSubstr("/dev/full"));
}

TEST(Child, ReturnsWhatTheWorkReturns) {
  const auto result = run_in_child<BlockUse>(
      [](const std::atomic<bool>&) -> Result<BlockUse> {
        return BlockUse{.completed_ios = 7, .in_flight_mean = 0.5};
      },
      10'000'000'000);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->completed_ios, 7U);
  EXPECT_EQ(result->in_flight_mean, 0.5);
}

TEST(Child, CarriesErrorsAcross) {
  const auto result = run_in_child<BlockUse>(
      [](const std::atomic<bool>&) -> Result<BlockUse> {
        return failed("open", "/dev/nothing", ENOENT, "look again");
      },
      10'000'000'000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "open /dev/nothing: No such file or directory; look again");
}

TEST(Child, IsKilledAtItsBound) {
  const auto result = run_in_child<BlockUse>(
      [](const std::atomic<bool>&) -> Result<BlockUse> {
        ::pause();
        return BlockUse();
      },
      300'000'000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().exit, ExitCode::hang);
}

TEST(Child, ThatDiesIsAnError) {
  const auto result = run_in_child<BlockUse>(
      [](const std::atomic<bool>&) -> Result<BlockUse> { ::_exit(3); }, 10'000'000'000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().errnum, ECHILD);
}

TEST(ServerUsage, DifferencesAreExact) {
  ServerUsage early;
  early.fetched_ios = 10;
  early.in_flight_ios = 4;
  early.daemon_cpu_ns = {5, 6};
  early.fetch_batch = {{{1, 2}, {32, 5}}};
  ServerUsage late = early;
  late.fetched_ios = 100;
  late.in_flight_ios = 3;
  late.daemon_cpu_ns = {7, 6};
  late.fetch_batch = {{{1, 2}, {32, 7}, {64, 1}}};
  const ServerUsage usage = late - early;
  EXPECT_EQ(usage.fetched_ios, 90U);
  EXPECT_EQ(usage.in_flight_ios, 3U) << "not what was counted, but what is";
  EXPECT_EQ(usage.daemon_cpu_ns, (std::vector<std::uint64_t>{2, 0}));
  EXPECT_EQ(usage.fetch_batch.size_events, (SizeEvents{{32, 2}, {64, 1}}));
  EXPECT_DOUBLE_EQ(usage.fetch_batch.mean(), 128.0 / 3);
}

}  // namespace
}  // namespace ublkbench
