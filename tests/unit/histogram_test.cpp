// SPDX-License-Identifier: MIT
#include "bench/base/histogram.hpp"

#include <gtest/gtest.h>

#include <random>

namespace ublkbench {
namespace {

/// Numbers of every magnitude, not mostly huge ones.
std::vector<std::uint64_t> numbers_of_all_sizes() {
  std::mt19937_64 random(42);
  std::vector<std::uint64_t> numbers{0, 1, 127, 128, 129, ~std::uint64_t{0}};
  for (int i = 0; i < 20000; ++i) numbers.push_back(random() >> (random() % 64));
  return numbers;
}

TEST(LogLinear, ValuesBelow128HaveASlotOfTheirOwn) {
  for (std::uint32_t value = 0; value < 128; ++value) {
    EXPECT_EQ(log_linear_slot(value), value);
    EXPECT_EQ(log_linear_lowest(value), value);
    EXPECT_EQ(log_linear_highest(value), value);
    EXPECT_EQ(log_linear_midpoint(value), value);
  }
}

TEST(LogLinear, SlotsCoverAll64BitsWithoutGapOrOverlap) {
  EXPECT_EQ(log_linear_lowest(0), 0U);
  for (std::uint32_t slot = 0; slot + 1 < LOG_LINEAR_SLOTS; ++slot) {
    ASSERT_EQ(log_linear_highest(slot) + 1, log_linear_lowest(slot + 1)) << slot;
    ASSERT_EQ(log_linear_slot(log_linear_lowest(slot)), slot);
    ASSERT_EQ(log_linear_slot(log_linear_highest(slot)), slot);
  }
  EXPECT_EQ(log_linear_highest(LOG_LINEAR_SLOTS - 1), ~std::uint64_t{0});
}

TEST(LogLinear, MidpointIsWithinOnePercent) {
  for (const std::uint64_t value : numbers_of_all_sizes()) {
    const std::uint64_t midpoint = log_linear_midpoint(log_linear_slot(value));
    const std::uint64_t error = midpoint > value ? midpoint - value : value - midpoint;
    ASSERT_LE(error, value / 128) << value;
  }
}

TEST(Histogram, IsEmptyAtFirst) {
  const Histogram histogram;
  EXPECT_TRUE(histogram.empty());
  EXPECT_EQ(histogram.min(), 0U);
  EXPECT_EQ(histogram.max(), 0U);
  EXPECT_EQ(histogram.mean(), 0);
  EXPECT_EQ(histogram.percentile(99), 0U);
}

TEST(Histogram, PercentilesAreNearestRank) {
  Histogram histogram;
  for (std::uint64_t value = 1; value <= 10; ++value) histogram.record(value);
  EXPECT_EQ(histogram.percentile(0), 1U);
  EXPECT_EQ(histogram.percentile(10), 1U);
  EXPECT_EQ(histogram.percentile(10.1), 2U);
  EXPECT_EQ(histogram.percentile(50), 5U);
  EXPECT_EQ(histogram.percentile(99), 10U);
  EXPECT_EQ(histogram.percentile(100), 10U);
  EXPECT_EQ(histogram.mean(), 5.5);
}

TEST(Histogram, PercentilesStayInsideWhatWasRecorded) {
  Histogram histogram;
  histogram.record(1'000'003, 7);
  EXPECT_EQ(histogram.count(), 7U);
  EXPECT_EQ(histogram.sum(), 7'000'021U);
  for (const double percent : {0.0, 50.0, 100.0})
    EXPECT_EQ(histogram.percentile(percent), 1'000'003U);
}

TEST(Histogram, PercentilesOfManyValuesAreWithinOnePercent) {
  std::vector<std::uint64_t> values = numbers_of_all_sizes();
  Histogram histogram;
  for (const std::uint64_t value : values) histogram.record(value);
  std::ranges::sort(values);
  for (const double percent : {1.0, 25.0, 50.0, 90.0, 99.0, 99.9}) {
    const auto rank =
        static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
    const auto exact = static_cast<double>(values[rank - 1]);
    EXPECT_NEAR(static_cast<double>(histogram.percentile(percent)), exact, exact * 0.01);
  }
}

TEST(Histogram, NoCountLeavesNoTrace) {
  Histogram histogram;
  histogram.record(5, 0);
  EXPECT_EQ(histogram, Histogram());
}

TEST(Histogram, MergeEqualsRecordingEverythingInOne) {
  Histogram first;
  Histogram second;
  Histogram both;
  for (const std::uint64_t value : numbers_of_all_sizes()) {
    (value % 3 == 0 ? first : second).record(value);
    both.record(value);
  }
  first.merge(second);
  EXPECT_EQ(first, both);
  first.merge(Histogram());
  EXPECT_EQ(first, both);
}

TEST(Histogram, OfWhatWasCountedElsewhereIsTheSame) {
  Histogram histogram;
  for (const std::uint64_t value : numbers_of_all_sizes()) histogram.record(value);
  EXPECT_EQ(Histogram::of(histogram.slots(), histogram.sum(), histogram.min(), histogram.max()),
            histogram);
  EXPECT_EQ(Histogram::of(Histogram().slots(), 0, 0, 0), Histogram());
}

}  // namespace
}  // namespace ublkbench
