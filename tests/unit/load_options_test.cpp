// SPDX-License-Identifier: MIT
#include "bench/load/options.hpp"

#include <gtest/gtest.h>

namespace ublkbench::load {
namespace {

LoadOptions good() {
  LoadOptions options;
  options.device = "/dev/some";
  options.ios = 1000;
  return options;
}

DeviceFacts disk() {
  return {.path = "/dev/some",
          .is_block = true,
          .bytes = 1 << 20,
          .logical_block_bytes = 512,
          .max_hw_bytes = 128 << 10,
          .max_bytes = 64 << 10,
          .max_segments = 8,
          .io_poll = false};
}

template <class Change>
std::string refusal(Change change) {
  LoadOptions options = good();
  change(options);
  auto result = validate(options);
  if (result) result = validate(options, disk());
  if (result) return {};
  EXPECT_TRUE(result.error().exit == ExitCode::usage ||
              result.error().exit == ExitCode::environment);
  return result.error().message();
}

#define EXPECT_REFUSED(change, word)                                               \
  EXPECT_NE(refusal([](LoadOptions& o) { change; }).find(word), std::string::npos) \
      << "'" << refusal([](LoadOptions& o) { change; }) << "'"

TEST(LoadOptions, GoodOnesPass) {
  EXPECT_EQ(refusal([](LoadOptions&) {}), "");
}

TEST(LoadOptions, ShapeIsChecked) {
  EXPECT_REFUSED(o.device.clear(), "no device");
  EXPECT_REFUSED(o.block_bytes = 0, "block size 0");
  EXPECT_REFUSED(o.depth = 0, "depth 0");
  EXPECT_REFUSED(o.depth = 20000, "depth 20000");
  EXPECT_REFUSED(o.jobs = 0, "0 jobs");
  EXPECT_REFUSED(o.submit_batch = 129, "submit batch 129");
  EXPECT_REFUSED(o.complete_batch = 129, "complete batch 129");
  EXPECT_REFUSED(o.rw_mix_read_percent = 101, "101 %");
}

TEST(LoadOptions, WorkIsEitherIosOrTime) {
  EXPECT_REFUSED(o.ios = 0, "either");
  EXPECT_REFUSED(o.runtime_ns = 1, "either");
  EXPECT_REFUSED(o.max_errors = 0, "max errors");
  EXPECT_REFUSED(o.hang_timeout_ns = 0, "hang timeout");
}

TEST(LoadOptions, WritesNeedPermission) {
  for (const char* word : {"write", "randwrite", "rw", "randrw"}) {
    LoadOptions options = good();
    options.pattern = parse_pattern(word).value();
    const auto result = validate(options);
    ASSERT_FALSE(result) << word;
    EXPECT_NE(result.error().message().find("--destructive"), std::string::npos);
    options.destructive = true;
    EXPECT_TRUE(validate(options));
  }
}

TEST(LoadOptions, TheDeviceSetsLimits) {
  EXPECT_REFUSED(o.block_bytes = 1000, "logical block size 512");
  EXPECT_REFUSED(o.offset = 100, "logical block size 512");
  EXPECT_REFUSED((o.block_bytes = 2 << 20, o.allow_split = true), "above the size");
  EXPECT_REFUSED(o.offset = 1 << 20, "no whole block");
  EXPECT_REFUSED((o.offset = 512, o.range = 1 << 20), "beyond the end");
  EXPECT_REFUSED(o.range = 512, "below the block size");
  EXPECT_REFUSED((o.pattern = Pattern::read, o.jobs = 1024), "sequential jobs");
}

TEST(LoadOptions, SplittingIsRefusedUnlessWanted) {
  EXPECT_REFUSED(o.block_bytes = 256 << 10, "split");
  EXPECT_EQ(refusal([](LoadOptions& o) { o.block_bytes = 256 << 10, o.allow_split = true; }), "");
}

TEST(LoadOptions, PollingNeedsPollQueues) {
  LoadOptions options = good();
  options.hipri = true;
  const auto result = validate(options, disk());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().exit, ExitCode::environment);
  EXPECT_NE(result.error().message().find("io_poll"), std::string::npos);
  EXPECT_REFUSED((o.hipri = true, o.direct = false), "direct");
  EXPECT_REFUSED((o.hipri = true, o.rate_iops = 5), "rate");
}

TEST(LoadOptions, AFileHasNoAlignmentWhenBuffered) {
  LoadOptions options = good();
  options.block_bytes = 1000;
  options.direct = false;
  EXPECT_TRUE(validate(options, {.path = "f", .is_block = false, .bytes = 5000}));
}

TEST(LoadOptions, Defaults) {
  LoadOptions options = good();
  EXPECT_EQ(options.effective_submit_batch(), 32U);
  EXPECT_EQ(options.effective_warmup_ios(), 2000U);
  options.depth = 1;
  EXPECT_EQ(options.effective_submit_batch(), 1U);
  EXPECT_EQ(options.effective_complete_batch(), 1U);
  options.depth = 256;
  options.jobs = 4;
  EXPECT_EQ(options.effective_warmup_ios(), 4096U);
  options.warmup_ios = 0;
  EXPECT_EQ(options.effective_warmup_ios(), 0U);
}

TEST(LoadOptions, WarmingUpIsBounded) {
  LoadOptions options = good();
  options.depth = 128;
  for (const auto& [block_bytes, ios] : {std::pair<std::uint64_t, std::uint64_t>{4096, 2000},
                                         {131072, 2000},
                                         {1 << 20, 256},
                                         {4 << 20, 128}}) {
    options.block_bytes = block_bytes;
    EXPECT_EQ(options.effective_warmup_ios(), ios) << block_bytes;
  }
  options.rate_iops = 1;
  EXPECT_EQ(options.effective_warmup_ios(), 2U);
}

TEST(LoadOptions, RangeIsInWholeBlocks) {
  LoadOptions options = good();
  options.offset = 512;
  const Range range = range_of(options, disk());
  EXPECT_EQ(range.begin, 512U);
  EXPECT_EQ(range.blocks, 255U);
}

TEST(LoadOptions, RemarksNameWhatMaySplit) {
  LoadOptions options = good();
  EXPECT_TRUE(remarks(options, disk()).empty());
  options.block_bytes = 128 << 10;
  EXPECT_EQ(remarks(options, disk()).size(), 2U);  // max_sectors_kb and max_segments
}

TEST(LoadOptions, RemarksNameMerges) {
  LoadOptions options = good();
  options.pattern = Pattern::read;
  DeviceFacts facts = disk();
  EXPECT_TRUE(remarks(options, facts).empty());
  facts.merges = true;
  ASSERT_EQ(remarks(options, facts).size(), 1U);
  options.submit_batch = 1;
  EXPECT_TRUE(remarks(options, facts).empty());
}

TEST(LoadOptions, PatternsReadBack) {
  for (const char* word : {"read", "write", "randread", "randwrite", "rw", "randrw"})
    EXPECT_EQ(name_of(parse_pattern(word).value()), word);
  EXPECT_FALSE(parse_pattern("readrand"));
}

}  // namespace
}  // namespace ublkbench::load
