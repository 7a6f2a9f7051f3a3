// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/suite/child.hpp"
#include "bench/suite/plan.hpp"
#include "bench/suite/store.hpp"
#include "bench/suite/summary.hpp"
#include "bench/suite/usage.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

RunOptions two_modes() {
  RunOptions options;
  options.modes = {*parse_mode("copy"), *parse_mode("batch,auto_zc")};
  options.depths = {1, 128};
  options.load.ios = 1000;
  options.repeat = 3;
  return options;
}

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

json sample(const std::string& cell, std::size_t round, double iops) {
  return {
      {"cell", cell},
      {"round", round},
      {"order", round},
      {"status", "ok"},
      {"load",
       {{"measured_ios", 1000},
        {"iops", iops},
        {"latency_ns", {{"p50", 1000}, {"p99", 2000}, {"p999", 3000}}}}},
      {"server",
       {{"enters", 100}, {"fetch_batch", {{"mean", 10.0}}}, {"commit_batch", {{"mean", 10.0}}}}},
      {"per_io", {{"load_cpu_ns", 500.0}, {"server_cpu_ns", 700.0}}}};
}

json document_of(const Plan& plan) {
  json document = {{"schema", "ublkbench.run/1"},
                   {"run", {{"queues", 1}, {"jobs", 1}, {"loop", "closed"}}},
                   {"env", {{"key_fields", {{"kernel", {{"release", "7.3.4"}}}}}}},
                   {"cells", json::array()},
                   {"samples", json::array()}};
  for (const Cell& cell : plan.cells) document["cells"].push_back(cell.to_json());
  return document;
}

TEST(Summary, TakesMedianAndRangeOfGoodSamples) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  const std::string id = plan->cells[0].name();
  for (const double iops : {300.0, 100.0, 200.0})
    document["samples"].push_back(sample(id, document["samples"].size(), iops));
  json failed = {{"cell", id}, {"round", 3}, {"status", "failed"}, {"reason", "boom"}};
  document["samples"].push_back(failed);
  const auto summary = summarize(document).front();
  EXPECT_EQ(summary.good, 3U);
  EXPECT_EQ(summary.failed, 1U);
  EXPECT_EQ(summary.reason, "boom");
  EXPECT_DOUBLE_EQ(summary.figures.at("iops").median, 200);
  EXPECT_DOUBLE_EQ(summary.figures.at("iops").min, 100);
  EXPECT_DOUBLE_EQ(summary.figures.at("iops").max, 300);
  EXPECT_DOUBLE_EQ(summary.figures.at("enters").median, 0.1);
}

TEST(Summary, RatiosCompareTheSameLoad) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  for (const Cell& cell : plan->cells) {
    const double iops = cell.kind == Cell::Kind::control ? 400
                        : cell.mode.name() == "copy"     ? 100
                                                         : 200;
    document["samples"].push_back(sample(cell.name(), 0, iops * cell.depth));
  }
  for (const CellSummary& cell : summarize(document)) {
    if (cell.kind == "control") {
      EXPECT_FALSE(cell.ratio_to_control);
    } else {
      EXPECT_DOUBLE_EQ(cell.ratio_to_control.value(), cell.mode == "copy" ? 0.25 : 0.5);
    }
    if (cell.mode == "batch,auto_zc") {
      EXPECT_DOUBLE_EQ(cell.ratio_to_first.value(), 2);
    }
  }
}

TEST(Spread, EvenCountsTakeTheMiddle) {
  EXPECT_DOUBLE_EQ(spread_of({4, 1, 2, 3})->median, 2.5);
  EXPECT_FALSE(spread_of({}));
}

TEST(Table, EveryFormatNamesEveryMode) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  for (const Cell& cell : plan->cells)
    document["samples"].push_back(sample(cell.name(), 0, 123456));
  for (const char* word : {"text", "md", "csv", "json"}) {
    const std::string text = render(document, *parse_format(word));
    EXPECT_THAT(text, HasSubstr("batch,auto_zc")) << word;
    EXPECT_THAT(text, HasSubstr("null_blk")) << word;
  }
  EXPECT_THAT(render(document, TableFormat::text), HasSubstr("123.5k"));
  EXPECT_FALSE(parse_format("yaml"));
}

TEST(Table, AFailedCellSaysWhy) {
  const auto plan = make_plan(two_modes());
  json document = document_of(*plan);
  document["samples"].push_back({{"cell", plan->cells[0].name()},
                                 {"status", "failed"},
                                 {"reason", "no space"},
                                 {"round", 0}});
  EXPECT_THAT(render(document, TableFormat::text), HasSubstr("no space"));
}

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/store-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  static json env(const char* release) {
    return {{"key_fields", {{"kernel", {{"release", release}}}}}};
  }
  std::string folder_;
  Plan plan_ = *make_plan(two_modes());
};

TEST_F(StoreTest, ResumesFromAFolderWithATornLine) {
  const StoreOptions options{.folder = folder_};
  {
    auto store = Store::open(options, {{"id", "first"}}, env("7.3"), plan_);
    ASSERT_TRUE(store) << store.error().message();
    ASSERT_TRUE(store->add(sample(plan_.cells[0].name(), 0, 1)));
    ASSERT_TRUE(store->add({{"cell", plan_.cells[1].name()}, {"round", 0}, {"status", "failed"}}));
  }
  std::ofstream(folder_ + "/samples.jsonl", std::ios::app) << R"({"cell": "half)";
  StoreOptions again = options;
  again.resume = true;
  auto store = Store::open(again, {{"id", "second"}}, env("7.3"), plan_);
  ASSERT_TRUE(store) << store.error().message();
  EXPECT_EQ(store->resumed(), 1U);
  EXPECT_TRUE(store->has(plan_.cells[0].name(), 0));
  EXPECT_FALSE(store->has(plan_.cells[1].name(), 0)) << "a failed sample is measured again";
  EXPECT_EQ(store->document()["run"]["id"], "first");
}

TEST_F(StoreTest, RefusesToMixEnvironmentsOrMatrices) {
  const StoreOptions options{.json_path = folder_ + "/run.json", .resume = true};
  ASSERT_TRUE(Store::open(options, {{"id", "1"}}, env("7.3"), plan_));
  const auto other = Store::open(options, {{"id", "2"}}, env("6.12"), plan_);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(), HasSubstr("kernel"));
  RunOptions changed = two_modes();
  changed.depths = {4};
  EXPECT_FALSE(Store::open(options, {{"id", "3"}}, env("7.3"), *make_plan(changed)));
}

TEST_F(StoreTest, AnOutputThatCannotBeWrittenFailsFirst) {
  const auto store = Store::open({.json_path = "/dev/full"}, {}, env("7.3"), plan_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().exit, ExitCode::usage);
  EXPECT_THAT(store.error().message(), HasSubstr("/dev/full"));
}

TEST(Child, ReturnsWhatTheWorkReturns) {
  const auto result = run_in_child(
      [](const std::atomic<bool>&) -> Result<json> { return json{{"a", 1}}; }, 10'000'000'000);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ((*result)["a"], 1);
}

TEST(Child, CarriesErrorsAcross) {
  const auto result = run_in_child(
      [](const std::atomic<bool>&) -> Result<json> {
        return failed("open", "/dev/nothing", ENOENT, "look again");
      },
      10'000'000'000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "open /dev/nothing: No such file or directory; look again");
}

TEST(Child, IsKilledAtItsBound) {
  const auto result = run_in_child(
      [](const std::atomic<bool>&) -> Result<json> {
        ::pause();
        return json();
      },
      300'000'000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().exit, ExitCode::hang);
}

TEST(Child, ThatDiesIsAnError) {
  const auto result =
      run_in_child([](const std::atomic<bool>&) -> Result<json> { ::_exit(3); }, 10'000'000'000);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().errnum, ECHILD);
}

TEST(ServerUsage, DifferencesAreExact) {
  ServerUsage early;
  early.fetched_ios = 10;
  early.fetch_batch = {{1, 2}, {32, 5}};
  ServerUsage late = early;
  late.fetched_ios = 100;
  late.fetch_batch = {{1, 2}, {32, 7}, {64, 1}};
  const ServerUsage usage = late - early;
  EXPECT_EQ(usage.fetched_ios, 90U);
  EXPECT_EQ(usage.fetch_batch, (SizeCounts{{32, 2}, {64, 1}}));
  EXPECT_DOUBLE_EQ(mean_size(usage.fetch_batch), 128.0 / 3);
}

}  // namespace
}  // namespace ublkbench
