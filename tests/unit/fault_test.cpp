// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "bench/targets/fault.hpp"
#include "tests/unit/lane_rig.hpp"
#include "tests/unit/temporary_folder.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;
using testing_support::LaneRig;
using testing_support::Pages;

TEST(FaultSpec, WordsAndTheirErrors) {
  const auto spec = parse_faults(
      "delay=uniform:1ms..3ms@read@50%,error=ENOSPC@write@1M..2M,hang=1:7,bandwidth=10M,seed=9");
  ASSERT_TRUE(spec) << spec.error().message();
  ASSERT_EQ(spec->faults.size(), 3U);
  EXPECT_EQ(spec->faults[0].delay.high_ns, 3'000'000U);
  EXPECT_DOUBLE_EQ(spec->faults[0].match.rate, 0.5);
  EXPECT_EQ(spec->faults[1].errnum, ENOSPC);
  EXPECT_EQ(spec->faults[1].match.end, 2U << 20);
  EXPECT_EQ(spec->faults[2].match.tag, 7U);
  EXPECT_EQ(spec->faults[2].match.queue, 1U);
  EXPECT_EQ(spec->bytes_per_second, 10U << 20);
  EXPECT_EQ(spec->seed, 9U);
  for (const auto& [words, says] : std::initializer_list<std::pair<const char*, const char*>>{
           {"", "without a fault"},
           {"delay", "KEY=VALUE"},
           {"delay=x", "a time is"},
           {"delay=3ms..1ms", "a time is"},
           {"delay=uniform:3ms..1ms", "a time is"},
           {"error=EFOO", "the block layer tells apart EIO"},
           {"error=EIO@101%", "0% to 100%"},
           {"error=EIO@sometimes", "after '@' goes"},
           {"error=EIO@2M..1M", "FROM..TO"},
           {"short=100", "multiple of 512"},
           {"torn=512@read", "only writes are torn"},
           {"short=512@flush", "reads and writes only"},
           {"hang=x", "give a tag"},
           {"die=0", "more than 0"},
           {"cache=none", "cache=volatile"},
           {"seed=1@1%", "takes no '@'"},
           {"nosuch=1", "use delay, stall"}}) {
    const auto bad = parse_faults(words);
    ASSERT_FALSE(bad) << words;
    EXPECT_EQ(bad.error().exit, ExitCode::usage) << words;
    EXPECT_THAT(bad.error().message(), HasSubstr(says));
  }
}

class FaultTest : public testing::Test {
 protected:
  LaneRig& rig_of(const std::string& spec) {
    auto target = make_target(spec);
    EXPECT_TRUE(target) << target.error().message();
    target_ = std::move(*target);
    rig_.emplace(*target_);
    return *rig_;
  }
  /// Results of `count` reads of a block each.
  static std::vector<std::int32_t> reads(LaneRig& rig, int count) {
    std::vector<std::int32_t> results;
    const Pages page(4096);
    for (int number = 0; number < count; ++number)
      results.push_back(rig.read(static_cast<std::uint64_t>(number) * 4096, page.bytes()));
    return results;
  }

  std::unique_ptr<Target> target_;
  std::optional<LaneRig> rig_;
};

TEST_F(FaultTest, ErrorsAreAtTheirRateAndTheSameForTheSameSeed) {
  const auto first = reads(rig_of("mem:4M+fault:error=EIO@25%,seed=5"), 1000);
  EXPECT_EQ(reads(rig_of("mem:4M+fault:error=EIO@25%,seed=5"), 1000), first);
  EXPECT_NE(reads(rig_of("mem:4M+fault:error=EIO@25%,seed=6"), 1000), first);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(first, -EIO)), 250, 60);
  EXPECT_EQ(std::ranges::count(first, -EIO) + std::ranges::count(first, 4096), 1000);
}

TEST_F(FaultTest, ErrorsByOperationAndRangeLeaveTheRestAlone) {
  LaneRig& rig = rig_of("mem:4M+fault:error=ENOSPC@write@1M..2M,badblocks=8k..12k,error=EIO@flush");
  const Pages page(4096, 1);
  EXPECT_EQ(rig.write(1 << 20, page.bytes()), -ENOSPC);
  EXPECT_EQ(rig.read(1 << 20, page.bytes()), 4096);
  EXPECT_TRUE(page.all(0)) << "the write that failed was not served";
  EXPECT_EQ(rig.write((1 << 20) - 4096, page.bytes()), 4096);
  EXPECT_EQ(rig.write(2 << 20, page.bytes()), 4096);
  EXPECT_EQ(rig.read(8192, page.bytes()), -ENODATA);
  EXPECT_EQ(rig.read(12288, page.bytes()), 4096);
  const Pages wide(16384);
  EXPECT_EQ(rig.read(0, wide.bytes()), -ENODATA);
  EXPECT_EQ(rig.serve({.op = Op::flush}), -EIO);
}

TEST_F(FaultTest, DelaysTakeTheirTimeAndNothingElse) {
  LaneRig& rig = rig_of("mem:4M+fault:delay=30ms@write,delay=3600s@read@1M..2M");
  const Pages page(4096, 7);
  const std::uint64_t start_ns = now_ns();
  EXPECT_EQ(rig.write(0, page.bytes()), 4096);
  EXPECT_GE(now_ns() - start_ns, 30'000'000U);
  const Pages back(4096);
  EXPECT_EQ(rig.read(0, back.bytes()), 4096);  // an hour's delay is another range's
  EXPECT_TRUE(back.all(7));
}

TEST(FaultDelay, DrawsFollowTheDistribution) {
  SplitMix64 random(1);
  const Delay uniform{.distribution = Delay::Distribution::uniform, .low_ns = 100, .high_ns = 300};
  const Delay exponential{.distribution = Delay::Distribution::exponential, .low_ns = 1000};
  double uniform_sum = 0;
  double exponential_sum = 0;
  for (int draw = 0; draw < 20000; ++draw) {
    const std::uint64_t ns = uniform.draw_ns(random);
    EXPECT_GE(ns, 100U);
    EXPECT_LE(ns, 300U);
    uniform_sum += static_cast<double>(ns);
    exponential_sum += static_cast<double>(exponential.draw_ns(random));
  }
  EXPECT_NEAR(uniform_sum / 20000, 200, 2);
  EXPECT_NEAR(exponential_sum / 20000, 1000, 40);
}

TEST_F(FaultTest, AStallBlocksTheTask) {
  LaneRig& rig = rig_of("mem:4M+fault:stall=30ms@write");
  const Pages page(4096);
  const std::uint64_t start_ns = now_ns();
  rig.start(1, {.op = Op::write, .bytes = 4096},
            {.place = Data::Place::memory, .memory = page.bytes().data()});
  EXPECT_GE(now_ns() - start_ns, 30'000'000U);
  EXPECT_EQ(rig.take(1), 4096);
}

TEST_F(FaultTest, BandwidthIsSharedByAllRequests) {
  LaneRig& rig = rig_of("null+fault:bandwidth=1M");
  const Pages pages(16384);
  const std::uint64_t start_ns = now_ns();
  for (std::uint32_t slot = 0; slot < 4; ++slot)
    rig.start(slot, {.op = Op::write, .bytes = 16384},
              {.place = Data::Place::memory, .memory = pages.bytes().data()});
  for (std::uint32_t slot = 0; slot < 4; ++slot) EXPECT_EQ(rig.take(slot), 16384);
  EXPECT_GE(now_ns() - start_ns, 62'000'000U);  // 64k at 1M a second
}

TEST_F(FaultTest, AShortReadHasTheHeadAndLeavesTheRestUntouched) {
  LaneRig& rig = rig_of("mem:4M+fault:short=4k@read");
  const Pages ones(16384, 1);
  ASSERT_EQ(rig.write(0, ones.bytes()), 16384);
  const Pages back(16384, 0xee);
  EXPECT_EQ(rig.read(0, back.bytes()), 4096);
  EXPECT_EQ(back.bytes()[4095], std::byte{1});
  EXPECT_EQ(back.bytes()[4096], std::byte{0xee});
}

TEST_F(FaultTest, AShortWriteSaysSoAndATornOneDoesNot) {
  const Pages ones(16384, 1);
  for (const auto& [spec, result] :
       {std::pair{"mem:4M+fault:short=4k@write", 4096}, std::pair{"mem:4M+fault:torn=4k", 16384}}) {
    LaneRig& rig = rig_of(spec);
    EXPECT_EQ(rig.write(0, ones.bytes()), result);
    const Pages back(16384, 0xee);
    ASSERT_EQ(rig.read(0, back.bytes()), 16384);
    EXPECT_EQ(back.bytes()[4095], std::byte{1});
    EXPECT_EQ(back.bytes()[4096], std::byte{0}) << "only the head was written";
  }
}

TEST_F(FaultTest, ATagHangsAndTheOthersGoOn) {
  auto target = make_target("null+fault:hang=3");
  ASSERT_TRUE(target);
  LaneRig rig(**target, 8, 1 << 20, {{.queue = 0, .tag = 3}, {.queue = 0, .tag = 4}});
  const Data data{.place = Data::Place::none};
  rig.start(0, {.op = Op::read, .bytes = 4096}, data);
  rig.start(1, {.op = Op::read, .bytes = 4096}, data);
  EXPECT_EQ(rig.take(1), 4096);
  EXPECT_EQ(rig.take(0, 100), std::nullopt);
}

TEST_F(FaultTest, DiesAtTheNthRequest) {
  const pid_t child = ::fork();
  if (child == 0) {
    LaneRig& rig = rig_of("null+fault:die=3");
    const Pages page(4096);
    for (int number = 0; number < 2; ++number) (void)rig.read(0, page.bytes());
    if (::write(1, "", 0) != 0) ::_exit(1);
    (void)rig.read(0, page.bytes());
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST_F(FaultTest, AVolatileCacheIsReadBackAndReachesTheFileByFlushOnly) {
  const TemporaryFolder folder;
  folder.write("disk", "");
  std::filesystem::resize_file(folder.path("disk"), 1 << 20);
  LaneRig& rig = rig_of("loop:" + folder.path("disk") + "+fault:cache=volatile");
  const auto in_file = [&](std::size_t offset) {
    std::ifstream file(folder.path("disk"), std::ios::binary);
    file.seekg(static_cast<long>(offset));
    return file.get();
  };
  const Pages ones(8192, 1);
  ASSERT_EQ(rig.write(4096, ones.bytes()), 8192);
  EXPECT_EQ(in_file(4096), 0);
  const Pages back(32768, 0xee);
  ASSERT_EQ(rig.read(0, back.bytes()), 32768);
  for (std::size_t at = 0; at < 32768; ++at)
    ASSERT_EQ(back.bytes()[at], at >= 4096 && at < 12288 ? std::byte{1} : std::byte{0}) << at;
  ASSERT_EQ(rig.serve({.op = Op::flush}), 0);
  EXPECT_EQ(in_file(4096), 1);
  EXPECT_EQ(in_file(12287), 1);
  const Pages twos(4096, 2);
  ASSERT_EQ(rig.write(8192, twos.bytes()), 4096);
  EXPECT_EQ(in_file(8192), 1);
  ASSERT_EQ(rig.write(16384, twos.bytes(), true), 4096);
  EXPECT_EQ(in_file(16384), 2) << "forced unit access is on stable storage";
  EXPECT_EQ(in_file(8192), 2);
}

TEST_F(FaultTest, WhatDoesNotFitTheTargetIsRefused) {
  for (const auto& [spec, says] :
       {std::pair{"null+fault:cache=volatile", "one file that holds"},
        std::pair{"mem:4M+fault:cache=volatile,short=512", "blocks of 4096 bytes"},
        std::pair{"nosuch+fault:delay=1ms", "unknown target 'nosuch'"},
        std::pair{"null+fault:", "without a fault"}}) {
    const auto target = make_target(spec);
    ASSERT_FALSE(target) << spec;
    EXPECT_THAT(target.error().message(), HasSubstr(says));
    EXPECT_EQ(target.error().exit, ExitCode::usage);
  }
}

}  // namespace
}  // namespace ublkbench
