// SPDX-License-Identifier: MIT
#include "bench/server/mode.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "bench/control/features.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t every_feature = 0x1fffff;

TEST(ParseMode, JoinsOneWordOfEachAxis) {
  const auto mode = parse_mode("batch,auto_zc");
  ASSERT_TRUE(mode) << mode.error().message();
  EXPECT_EQ(mode->delivery, DeliveryMode::batch);
  EXPECT_EQ(mode->buffer, BufferMode::auto_zc);
  EXPECT_EQ(mode->flags(), UBLK_F_BATCH_IO | UBLK_F_AUTO_BUF_REG);
}

TEST(ParseMode, OrderSpellingAndAliasesDoNotMatter) {
  const auto expected = parse_mode("batch,auto_zc");
  for (const char* words :
       {"auto_zc,batch", "auto-zc,batch", "batch,auto_buf_reg", "auto-reg,batch"})
    EXPECT_EQ(*parse_mode(words), *expected) << words;
  EXPECT_EQ(parse_mode("zero-copy")->buffer, BufferMode::zc);
}

TEST(ParseMode, BatchAloneCopies) {
  EXPECT_EQ(parse_mode("batch")->buffer, BufferMode::copy);
  EXPECT_EQ(parse_mode("batch")->name(), "batch");
  EXPECT_EQ(parse_mode("batch,copy")->name(), "batch");
  EXPECT_EQ(parse_mode("copy")->name(), "copy");
}

TEST(ParseMode, TwoBuffersExcludeEachOther) {
  const auto mode = parse_mode("copy,auto_zc");
  ASSERT_FALSE(mode);
  EXPECT_EQ(mode.error().exit, ExitCode::usage);
  EXPECT_THAT(mode.error().message(), HasSubstr("'copy' and 'auto_zc' exclude each other"));
}

TEST(ParseMode, UnknownWordIsNamed) {
  const auto mode = parse_mode("batch,warp");
  ASSERT_FALSE(mode);
  EXPECT_EQ(mode.error().exit, ExitCode::usage);
  EXPECT_THAT(mode.error().message(), HasSubstr("'warp'"));
  EXPECT_FALSE(parse_mode(""));
  EXPECT_FALSE(parse_mode("copy,,batch"));
}

TEST(ParseMode, MixedHasASize) {
  EXPECT_EQ(parse_mode("mixed:128k")->mixed_bytes, 128U << 10);
  EXPECT_EQ(parse_mode("mixed:128k")->name(), "mixed:128k");
  EXPECT_FALSE(parse_mode("mixed:large"));
}

TEST(AllModes, NamesParseBackAndAreUnique) {
  std::set<std::string> names;
  for (const Mode& mode : all_modes()) {
    EXPECT_TRUE(names.insert(mode.name()).second) << mode.name();
    const auto parsed = parse_mode(mode.name());
    ASSERT_TRUE(parsed) << mode.name();
    EXPECT_EQ(*parsed, mode) << mode.name();
  }
  EXPECT_EQ(names.size(), 7U * 2 * 3 * 3);
}

TEST(Refusal, WhatTheDriverDropsIsRefused) {
  EXPECT_TRUE(refusal(*parse_mode("batch,get_data")));
  EXPECT_TRUE(refusal(*parse_mode("batch,per_io_daemon")));
  EXPECT_FALSE(refusal(*parse_mode("batch,auto_zc")));
  EXPECT_FALSE(refusal(*parse_mode("get_data")));
}

TEST(Usable, MissingFeatureNamesTheFirstKernel) {
  control::KernelAbilities kernel{.features = every_feature & ~UBLK_F_BATCH_IO};
  const auto can = usable(*parse_mode("batch,auto_zc"), kernel);
  ASSERT_FALSE(can);
  EXPECT_EQ(can.error().exit, ExitCode::environment);
  EXPECT_THAT(can.error().message(), HasSubstr("UBLK_F_BATCH_IO (first in Linux 7.0)"));
  kernel.features = every_feature;
  EXPECT_TRUE(usable(*parse_mode("batch,auto_zc"), kernel));
  EXPECT_THAT(missing(*parse_mode("iopoll"), kernel), HasSubstr("on a ring that polls"));
  EXPECT_TRUE(usable(*parse_mode("iopoll_split"), kernel));
  kernel.commands_on_polling_rings = true;
  EXPECT_TRUE(usable(*parse_mode("iopoll"), kernel));
}

TEST(Features, EveryFlagOfTheHeaderHasANameAndAKernel) {
  std::uint64_t seen = 0;
  for (const Feature& known : all_features()) {
    EXPECT_FALSE(known.name.empty());
    EXPECT_FALSE(known.first_kernel.empty()) << known.name;
    EXPECT_EQ(seen & known.flag, 0U) << known.name;
    seen |= known.flag;
  }
  EXPECT_EQ(seen, every_feature);
  EXPECT_EQ(feature_names(UBLK_F_BATCH_IO | 1ULL << 40), "UBLK_F_BATCH_IO|bit40");
  EXPECT_EQ(feature_names(0), "none");
}

}  // namespace
}  // namespace ublkbench
