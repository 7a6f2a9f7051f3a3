// SPDX-License-Identifier: MIT
// The generator end to end, on a regular file.
#include "bench/load/load.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <numeric>
#include <thread>

#include "bench/base/clock.hpp"
#include "temp_file.hpp"

namespace ublkbench::load {
namespace {

class LoadTest : public testing::Test {
 protected:
  LoadTest() {
    options.device = file.path();
    options.direct = false;
    options.ios = 5000;
    options.warmup_ios = 100;
    options.depth = 16;
    options.destructive = true;
  }
  LoadReport run(WindowObserver observer = {}) {
    auto report = run_load(options, std::move(observer));
    EXPECT_TRUE(report) << report.error().message();
    return report ? std::move(*report) : LoadReport{};
  }
  /// What must hold for every completed run of fixed work.
  void expect_whole(const LoadReport& report) const {
    EXPECT_EQ(report.ending, Ending::completed);
    EXPECT_EQ(report.exit_code(), ExitCode::ok);
    EXPECT_EQ(report.measured_ios, options.ios);
    EXPECT_EQ(report.reads + report.writes, options.ios);
    EXPECT_EQ(report.bytes, options.ios * options.block_bytes);
    EXPECT_GE(report.warmup_ios, options.warmup_ios);
    EXPECT_EQ(report.latency_ns.has_value(), options.record_latency);
    if (options.record_latency) {
      EXPECT_EQ(report.latency_ns->count, options.ios);
      EXPECT_EQ(report.read_latency_ns->count, report.reads);
    }
    EXPECT_EQ(report.submit_batch.count, report.enters);
    EXPECT_EQ(report.complete_batch.count, report.enters);
    EXPECT_GE(report.complete_batch.sum, options.ios);
    EXPECT_LE(report.submit_batch.max, options.effective_submit_batch());
    EXPECT_EQ(report.usage_per_job.size(), options.jobs);
    EXPECT_GT(report.usage.cpu_ns, 0U);
    EXPECT_GT(report.window_ns, 0U);
    EXPECT_GT(report.steady.first_ns, 0U);
    EXPECT_GT(report.steady.last_ns, 0U);
  }

  static constexpr std::uint64_t file_bytes = 4 << 20;
  test::TempFile file{file_bytes};
  LoadOptions options;
};

TEST_F(LoadTest, EveryPatternDoesExactlyItsWork) {
  for (const auto pattern : {Pattern::read, Pattern::write, Pattern::randread, Pattern::randwrite,
                             Pattern::rw, Pattern::randrw}) {
    options.pattern = pattern;
    const LoadReport report = run();
    expect_whole(report);
    if (!writes(pattern))
      EXPECT_EQ(report.writes, 0U);
    else if (!is_mixed(pattern))
      EXPECT_EQ(report.reads, 0U);
    else
      EXPECT_NEAR(static_cast<double>(report.reads), 2500, 200);
  }
}

TEST_F(LoadTest, EveryPathWorks) {
  for (const bool fixed : {true, false})
    for (const bool registered : {true, false})
      for (const bool latency : {true, false}) {
        options.fixed_buffers = fixed;
        options.registered_file = registered;
        options.record_latency = latency;
        expect_whole(run());
      }
}

TEST_F(LoadTest, TheMixIsAsAsked) {
  options.pattern = Pattern::randrw;
  for (const unsigned percent : {0U, 10U, 90U, 100U}) {
    options.rw_mix_read_percent = percent;
    const LoadReport report = run();
    expect_whole(report);
    EXPECT_NEAR(static_cast<double>(report.reads), 50.0 * percent, percent % 100 == 0 ? 0 : 150);
  }
}

TEST_F(LoadTest, SeveralJobsShareTheWork) {
  options.jobs = 3;
  expect_whole(run());
  options.pattern = Pattern::write;
  expect_whole(run());
}

TEST_F(LoadTest, DepthOneAndSmallWork) {
  options.depth = 1;
  options.ios = 3;
  options.warmup_ios = 0;
  expect_whole(run());
}

TEST_F(LoadTest, BatchesAreAsAsked) {
  options.submit_batch = 4;
  options.complete_batch = 8;
  const LoadReport report = run();
  expect_whole(report);
  EXPECT_LE(report.submit_batch.max, 4U);
}

TEST_F(LoadTest, SequentialWritesCoverTheRangeAndNothingElse) {
  options.pattern = Pattern::write;
  options.offset = 64 << 10;
  options.range = 1 << 20;
  options.jobs = 2;
  options.ios = 256;
  options.warmup_ios = 600;  // at least once over everything
  expect_whole(run());
  const std::vector<std::byte> zeroes(4096);
  for (std::uint64_t at = 0; at < file_bytes; at += 4096) {
    const bool inside = at >= options.offset && at < options.offset + options.range;
    EXPECT_EQ(file.read(at, 4096) == zeroes, !inside) << at;
  }
}

TEST_F(LoadTest, ObserverIsCalledOnceAtEachEdge) {
  std::vector<std::string> calls;
  std::uint64_t begin_ns = 0;
  std::uint64_t end_ns = 0;
  options.jobs = 2;
  const LoadReport report = run({.begin = [&] { calls.emplace_back("begin"), begin_ns = now_ns(); },
                                 .end = [&] { calls.emplace_back("end"), end_ns = now_ns(); }});
  EXPECT_EQ(calls, (std::vector<std::string>{"begin", "end"}));
  EXPECT_LE(report.window_begin_ns, begin_ns);
  EXPECT_LE(report.window_begin_ns + report.window_ns, end_ns);
}

TEST_F(LoadTest, BeforeIsCalledUnderFullLoadAheadOfTheWindow) {
  options.jobs = 2;
  for (const bool fixed_time : {false, true}) {
    if (fixed_time) {
      options.ios = 0;
      options.runtime_ns = 20'000'000;
      options.warmup_ns = 1'000'000;
    }
    std::vector<std::string> calls;
    std::uint64_t before_ns = 0;
    const LoadReport report = run({.before =
                                       [&] {
                                         calls.emplace_back("before");
                                         std::this_thread::sleep_for(std::chrono::milliseconds(30));
                                         before_ns = now_ns();
                                       },
                                   .begin = [&] { calls.emplace_back("begin"); },
                                   .end = [&] { calls.emplace_back("end"); }});
    EXPECT_EQ(calls, (std::vector<std::string>{"before", "begin", "end"}));
    EXPECT_EQ(report.ending, Ending::completed);
    EXPECT_GE(report.window_begin_ns, before_ns);
    // The jobs did not wait for it.
    EXPECT_GT(report.warmup_ios, options.warmup_ios);
  }
}

TEST_F(LoadTest, FixedTimeIsKept) {
  options.ios = 0;
  options.runtime_ns = 90'000'000;
  options.warmup_ns = 10'000'000;
  int edges = 0;
  const LoadReport report = run({.begin = [&] { ++edges; }, .end = [&] { ++edges; }});
  EXPECT_EQ(report.ending, Ending::completed);
  EXPECT_EQ(edges, 2);
  EXPECT_GE(report.window_ns, options.runtime_ns);
  EXPECT_GT(report.measured_ios, 0U);
  EXPECT_EQ(report.latency_ns->count, report.measured_ios);
  EXPECT_GT(report.steady.first_ns, 0U);
  EXPECT_GT(report.steady.last_ns, 0U);
}

TEST_F(LoadTest, AnOpenLoopKeepsItsRate) {
  options.rate_iops = 5000;
  options.ios = 500;
  options.jobs = 2;
  options.warmup_ios = 100;
  const std::uint64_t begin_ns = now_ns();
  const LoadReport report = run();
  expect_whole(report);
  // 600 I/Os at 5000 a second: none is sent before it is due. The window by itself may be shorter,
  // where a busy machine made the warm-up late and the backlog is caught up in it.
  EXPECT_GE(now_ns() - begin_ns, 115'000'000U);
}

TEST_F(LoadTest, AnOpenLoopMeasuresFromTheIntendedStart) {
  options.rate_iops = 1'000'000'000;  // far beyond any device: the backlog grows
  options.ios = 2000;
  options.warmup_ios = 0;
  const LoadReport report = run();
  expect_whole(report);
  EXPECT_GT(report.latency_ns->max, report.window_ns / 2) << "the last I/O was due at the start";
}

TEST_F(LoadTest, StopEndsEarly) {
  std::atomic<bool> stop = false;
  options.stop = &stop;
  options.ios = 1'000'000'000'000;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop = true;
  });
  const LoadReport report = run();
  EXPECT_EQ(report.ending, Ending::stopped);
  EXPECT_EQ(report.exit_code(), ExitCode::interrupted);
  EXPECT_EQ(report.latency_ns->count, report.measured_ios);
}

TEST_F(LoadTest, StopEndsWarmUpToo) {
  const std::atomic<bool> stop = true;
  options.stop = &stop;
  options.warmup_ios = 1'000'000'000'000;
  int edges = 0;
  const LoadReport report = run({.begin = [&] { ++edges; }, .end = [&] { ++edges; }});
  EXPECT_EQ(report.ending, Ending::stopped);
  EXPECT_EQ(report.measured_ios, 0U);
  EXPECT_EQ(edges, 0);
}

TEST_F(LoadTest, ASleepingJobIsWokenByStop) {
  std::atomic<bool> stop = false;
  options.stop = &stop;
  options.rate_iops = 1;
  options.jobs = 64;  // each sleeps for 64 s at a time
  options.warmup_ios = 0;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop = true;
  });
  const std::uint64_t begin = now_ns();
  EXPECT_EQ(run().ending, Ending::stopped);
  EXPECT_LT(now_ns() - begin, 40'000'000'000U);
}

TEST_F(LoadTest, ShortReadsAreCounted) {
  options.warmup_ios = 0;
  const LoadReport report = run({.begin = [&] { file.resize(file_bytes / 2); }, .end = {}});
  EXPECT_EQ(report.measured_ios, options.ios);
  EXPECT_GT(report.short_ios, 0U);
  EXPECT_LT(report.bytes, options.ios * options.block_bytes);
  EXPECT_EQ(report.exit_code(), ExitCode::io);
}

/// Writes beyond this size fail with EFBIG while it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &previous_);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = previous_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    previous_action_ = ::signal(SIGXFSZ, SIG_IGN);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &previous_);
    ::signal(SIGXFSZ, previous_action_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit previous_{};
  void (*previous_action_)(int) = nullptr;
};

TEST_F(LoadTest, AFailedIoEndsTheRunAndIsReported) {
  const FileSizeLimit limit(file_bytes / 2);
  options.pattern = Pattern::randwrite;
  const LoadReport report = run();
  EXPECT_EQ(report.ending, Ending::errors);
  EXPECT_EQ(report.exit_code(), ExitCode::io);
  EXPECT_GE(report.errors, 1U);
  ASSERT_TRUE(report.first_error);
  EXPECT_EQ(report.first_error->errnum, EFBIG);
  EXPECT_EQ(report.first_error->operation, Operation::write);
  EXPECT_GE(report.first_error->offset, file_bytes / 2);
}

TEST_F(LoadTest, FailedIosAreNotMeasured) {
  const FileSizeLimit limit(file_bytes / 2);
  options.pattern = Pattern::randwrite;
  options.max_errors = 1'000'000;
  options.warmup_ios = 0;
  const LoadReport report = run();
  EXPECT_EQ(report.ending, Ending::completed);
  EXPECT_GT(report.errors, 1000U);
  EXPECT_LT(report.measured_ios, options.ios);
  EXPECT_GE(report.measured_ios + report.errors, options.ios);
  EXPECT_EQ(report.writes, report.measured_ios);
  EXPECT_EQ(report.latency_ns->count, report.measured_ios);
  EXPECT_EQ(report.bytes, report.measured_ios * options.block_bytes);
}

TEST_F(LoadTest, BuffersMayLiveInAFile) {
  const test::TempFile buffers(0);
  options.buffer_file = buffers.path();
  options.pattern = Pattern::randwrite;
  options.jobs = 2;
  options.block_bytes = 512;  // slots of the second job begin inside a page
  options.depth = 5;
  // Often enough that the jobs grow the file at the same moment.
  for (int round = 0; round < 10; ++round) {
    ASSERT_EQ(::truncate(buffers.path().c_str(), 0), 0);
    expect_whole(run());
  }
  const auto data = buffers.read(0, 2 * 5 * 512);
  EXPECT_NE(data, std::vector<std::byte>(data.size()));
}

TEST_F(LoadTest, SetUpErrorsAreReturnedNotRun) {
  options.job_cpus = {100'000};
  options.jobs = 2;
  const auto report = run_load(options);
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message().find("100000"), std::string::npos);
}

TEST_F(LoadTest, UnusableDevicesAreRefused) {
  options.device = "/tmp";
  EXPECT_EQ(run_load(options).error().exit, ExitCode::usage);
  options.device = "/dev/no-such-device";
  EXPECT_EQ(run_load(options).error().exit, ExitCode::environment);
}

TEST_F(LoadTest, TheProgramsSignalHandlingIsRestored) {
  struct sigaction before{};
  struct sigaction after{};
  ::sigaction(SIGURG, nullptr, &before);
  run();
  ::sigaction(SIGURG, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

}  // namespace
}  // namespace ublkbench::load
