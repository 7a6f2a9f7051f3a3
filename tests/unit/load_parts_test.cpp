// SPDX-License-Identifier: MIT
// The load's parts that need no device: random numbers, offsets, schedule, window, report.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "bench/load/job_loop.hpp"
#include "bench/load/offsets.hpp"
#include "bench/load/report.hpp"
#include "bench/load/window.hpp"

namespace ublkbench::load {
namespace {

TEST(Random, SameSeedSameNumbersOtherSeedOthers) {
  Random first(7);
  Random again(7);
  Random other(8);
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t number = first.next();
    EXPECT_EQ(number, again.next());
    EXPECT_NE(number, other.next());
  }
}

TEST(Random, IsEvenlySpread) {
  Random random(1);
  std::array<int, 10> buckets{};
  constexpr int draws = 100'000;
  for (int i = 0; i < draws; ++i) ++buckets[random.below(buckets.size())];
  for (const int count : buckets) EXPECT_NEAR(count, draws / 10, 400);  // four standard deviations
}

TEST(Offsets, RandomOnesReachEveryBlockAndNoOther) {
  Random random(1);
  RandomOffsets offsets({.begin = 8192, .blocks = 10}, 4096);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(offsets.pick(random.next()));
  EXPECT_EQ(seen.size(), 10U);
  EXPECT_EQ(*seen.begin(), 8192U);
  EXPECT_EQ(*seen.rbegin(), 8192U + 9 * 4096);
  EXPECT_EQ(offsets.pick(0), 8192U);
  EXPECT_EQ(offsets.pick(~std::uint64_t{0}), 8192U + 9 * 4096);
}

TEST(Offsets, SequentialOnesWrapAround) {
  SequentialOffsets offsets({.begin = 512, .blocks = 3}, 512);
  std::vector<std::uint64_t> picked;
  for (int i = 0; i < 5; ++i) picked.push_back(offsets.pick(0));
  EXPECT_EQ(picked, (std::vector<std::uint64_t>{512, 1024, 1536, 512, 1024}));
}

TEST(Schedule, DoesNotDrift) {
  Schedule schedule(1000, 1e9 / 3);  // a third of a second does not fit into nanoseconds
  EXPECT_EQ(schedule.take(), 1000U);
  for (int i = 1; i < 3'000'000; ++i) schedule.take();
  EXPECT_NEAR(static_cast<double>(schedule.due_ns()), 1000 + 1e15, 1e3);
}

class WindowTest : public testing::Test {
 protected:
  WindowObserver observer() {
    return {.begin = [this] { ++begins; }, .end = [this] { ++ends; }};
  }
  int begins = 0;
  int ends = 0;
};

TEST_F(WindowTest, OpensWhenTheLastJobIsWarm) {
  Window window(100, 2, observer());
  window.job_is_warm();
  EXPECT_EQ(window.phase(), Phase::warming);
  EXPECT_EQ(begins, 0);
  window.job_is_warm();
  EXPECT_EQ(window.phase(), Phase::measuring);
  EXPECT_EQ(begins, 1);
  EXPECT_TRUE(window.opened());
}

TEST_F(WindowTest, CountsExactlyTheTarget) {
  Window window(100, 1, observer());
  window.job_is_warm();
  auto cursor = window.cursor();
  std::uint64_t counted = 0;
  while (!cursor.closed_window) counted += window.claim(7, cursor);
  EXPECT_EQ(counted, 100U);
  EXPECT_EQ(window.phase(), Phase::ending);
  EXPECT_EQ(window.claim(7, cursor), 0U);
  EXPECT_GE(window.third_ns(1), window.begin_ns());
  EXPECT_GE(window.third_ns(2), window.third_ns(1));
  EXPECT_GE(window.end_ns(), window.third_ns(2));
  EXPECT_EQ(window.counted(), 112U) << "what completed, the excess included";
}

TEST_F(WindowTest, OneClaimMayCrossEveryMark) {
  Window window(100, 1, observer());
  window.job_is_warm();
  auto cursor = window.cursor();
  EXPECT_EQ(window.claim(1000, cursor), 100U);
  EXPECT_TRUE(cursor.closed_window);
  EXPECT_NE(window.third_ns(1), 0U);
  EXPECT_NE(window.third_ns(2), 0U);
}

TEST_F(WindowTest, ATargetOfOneIo) {
  Window window(1, 1, observer());
  window.job_is_warm();
  auto cursor = window.cursor();
  EXPECT_EQ(window.claim(0, cursor), 0U);
  EXPECT_EQ(window.claim(1, cursor), 1U);
  EXPECT_TRUE(cursor.closed_window);
}

TEST_F(WindowTest, ManyJobsTogetherCountTheTarget) {
  constexpr unsigned jobs = 4;
  constexpr std::uint64_t target = 1'000'003;
  Window window(target, jobs, observer());
  std::atomic<std::uint64_t> counted = 0;
  std::atomic<int> closers = 0;
  std::vector<std::jthread> threads;
  for (unsigned job = 0; job < jobs; ++job)
    threads.emplace_back([&, job] {
      auto cursor = window.cursor();
      window.job_is_warm();
      while (window.phase() < Phase::measuring) std::this_thread::yield();
      while (window.phase() == Phase::measuring) counted += window.claim(1 + job, cursor);
      if (cursor.closed_window) {
        ++closers;
        window.notify_end();
      }
    });
  threads.clear();
  EXPECT_EQ(counted, target);
  EXPECT_EQ(closers, 1);
  EXPECT_EQ(begins, 1);
  EXPECT_EQ(ends, 1);
}

TEST_F(WindowTest, ClosedFromOutsideItCountsNoMore) {
  Window window(0, 1, observer());
  window.open();
  auto cursor = window.cursor();
  EXPECT_EQ(window.claim(1'000'000, cursor), 1'000'000U);
  EXPECT_TRUE(window.close());
  EXPECT_FALSE(window.close()) << "only one caller closes it";
  EXPECT_EQ(window.claim(5, cursor), 0U);
  EXPECT_EQ(window.third_ns(1), 0U);
}

TEST_F(WindowTest, GivenUpWhileWarmingItNeverOpens) {
  Window window(100, 1, observer());
  EXPECT_FALSE(window.close());
  EXPECT_EQ(window.phase(), Phase::ending);
  window.job_is_warm();
  EXPECT_FALSE(window.opened());
  EXPECT_EQ(begins, 0);
}

LoadReport some_report() {
  LoadReport report;
  report.ending = Ending::hang;
  report.measured_ios = 90;
  report.reads = 60;
  report.writes = 30;
  report.bytes = 90 * 4096;
  report.window_begin_ns = 5;
  report.window_ns = 9'000'000;
  report.warmup_ios = 20;
  report.steady = {.first_ns = 3'000'000, .last_ns = 2'900'000};
  report.errors = 2;
  report.short_ios = 1;
  report.first_error = IoError{{.job = 1, .offset = 4096, .operation = Operation::write}, EIO};
  Counts counts;
  counts.read_latency_ns.record(1000, 60);
  counts.write_latency_ns.record(3000, 30);
  counts.submit_batch.record(3, 30);
  counts.complete_batch.record(3, 30);
  add_counts(counts, true, report);
  report.enters = 30;
  report.usage = {
      .cpu_ns = 77, .voluntary_switches = 1, .involuntary_switches = 2, .instructions = 9};
  report.usage_per_job = {report.usage};
  report.hang =
      HangReport{.quiet_ns = 10,
                 .outstanding = {{{.job = 0, .offset = 512, .operation = Operation::read}, 11}},
                 .unreachable_jobs = 1};
  report.remarks = {"a remark"};
  return report;
}

TEST(LoadReport, ReadsAndWritesMakeOneDistribution) {
  const LoadReport report = some_report();
  EXPECT_EQ(report.latency_ns->count, 90U);
  EXPECT_EQ(report.latency_ns->sum, 60U * 1000 + 30 * 3000);
  EXPECT_EQ(report.latency_ns->min, 1000U);
  EXPECT_EQ(report.latency_ns->max, 3000U);
  EXPECT_EQ(report.read_latency_ns->slots.size(), 1U);
}

TEST(LoadReport, ExitCodesAndRates) {
  LoadReport report = some_report();
  EXPECT_EQ(report.exit_code(), ExitCode::hang);
  report.hang.reset();
  EXPECT_EQ(report.exit_code(), ExitCode::io);
  report.errors = report.short_ios = 0;
  report.ending = Ending::stopped;
  EXPECT_EQ(report.exit_code(), ExitCode::interrupted);
  report.ending = Ending::completed;
  EXPECT_EQ(report.exit_code(), ExitCode::ok);
  EXPECT_DOUBLE_EQ(report.iops(), 10'000);
  EXPECT_DOUBLE_EQ(report.ns_per_io(), 100'000);
  EXPECT_EQ(LoadReport{}.iops(), 0);
}

TEST(LoadReport, TextNamesWhatWentWrong) {
  const std::string text = to_text(some_report());
  for (const char* part :
       {"10.0k IOPS", "write at byte 4096 failed", "read at byte 512", "a remark", "1 jobs stuck"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
}

TEST(ThreadUsage, ASumLacksInstructionsWhenAThreadDoes) {
  ThreadUsage sum{.cpu_ns = 1, .instructions = 5};
  sum += {.cpu_ns = 2, .instructions = 6};
  EXPECT_EQ(sum.cpu_ns, 3U);
  EXPECT_EQ(sum.instructions, 11U);
  sum += {.cpu_ns = 4, .instructions = {}};
  EXPECT_EQ(sum.instructions, std::nullopt);
}

}  // namespace
}  // namespace ublkbench::load
