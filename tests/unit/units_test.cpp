// SPDX-License-Identifier: MIT
#include "bench/base/units.hpp"

#include <gtest/gtest.h>

#include "bench/base/result.hpp"

namespace ublkbench {
namespace {

template <class T>
bool is_usage_error(const Result<T>& result) {
  return !result && result.error().exit == ExitCode::usage && !result.error().message().empty();
}

TEST(Units, SizesArePowersOf1024) {
  EXPECT_EQ(parse_size("512").value(), 512U);
  EXPECT_EQ(parse_size("4k").value(), 4096U);
  EXPECT_EQ(parse_size("4K").value(), 4096U);
  EXPECT_EQ(parse_size("64KiB").value(), 65536U);
  EXPECT_EQ(parse_size("1MB").value(), 1U << 20);
  EXPECT_EQ(parse_size("2G").value(), 2ULL << 30);
  EXPECT_EQ(parse_size("1T").value(), 1ULL << 40);
  EXPECT_EQ(parse_size("0").value(), 0U);
}

TEST(Units, WrongSizesAreRefused) {
  for (const char* text :
       {"", "k", "4x", "-1", "1.5k", "4 k", "99999999999999999999", "17179869184G"})
    EXPECT_TRUE(is_usage_error(parse_size(text))) << text;
}

TEST(Units, CountsArePowersOf1000) {
  EXPECT_EQ(parse_count("128").value(), 128U);
  EXPECT_EQ(parse_count("10k").value(), 10'000U);
  EXPECT_EQ(parse_count("2M").value(), 2'000'000U);
  for (const char* text : {"", "ten", "1G", "-5"}) EXPECT_TRUE(is_usage_error(parse_count(text)));
}

TEST(Units, DurationsDefaultToSeconds) {
  EXPECT_EQ(parse_duration_ns("5").value(), 5'000'000'000U);
  EXPECT_EQ(parse_duration_ns("100us").value(), 100'000U);
  EXPECT_EQ(parse_duration_ns("2ms").value(), 2'000'000U);
  EXPECT_EQ(parse_duration_ns("7ns").value(), 7U);
  EXPECT_EQ(parse_duration_ns("3m").value(), 180'000'000'000U);
  for (const char* text : {"", "s", "1h", "0.5s"})
    EXPECT_TRUE(is_usage_error(parse_duration_ns(text)));
}

TEST(Units, SplitKeepsEmptyPartsButNotOfEmptyText) {
  EXPECT_EQ(split("a,b", ','), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(split("a,,", ','), (std::vector<std::string>{"a", "", ""}));
  EXPECT_TRUE(split("", ',').empty());
}

TEST(Units, FormatsAreWhatUsersRead) {
  EXPECT_EQ(format_size(4096), "4k");
  EXPECT_EQ(format_size(1 << 20), "1M");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(format_ns(950), "950 ns");
  EXPECT_EQ(format_ns(1234), "1.23 us");
  EXPECT_EQ(format_ns(12'345'678), "12.3 ms");
  EXPECT_EQ(format_count(104123.4), "104.1k");
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(2'500'000), "2.50M");
}

TEST(Units, SizesReadBackAsTheyAreWritten) {
  for (const std::uint64_t bytes : {512ULL, 4096ULL, 3ULL << 20, 5ULL << 30})
    EXPECT_EQ(parse_size(format_size(bytes)).value(), bytes);
}

}  // namespace
}  // namespace ublkbench
