// SPDX-License-Identifier: MIT
#include "probes/lib/histogram_text.hpp"

#include <gtest/gtest.h>

namespace ublkbench::probes {
namespace {

TEST(HistogramText, LooksLikeThatOfBpftrace) {
  EXPECT_EQ(log2_histogram("batch", {{1, 2}, {4, 1}, {7, 3}}),
            "@batch: \n"
            "[1]                       2 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |\n"
            "[2, 4)                    0 |                                                    |\n"
            "[4, 8)                    4 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n");
}

TEST(HistogramText, NothingIsNothing) { EXPECT_EQ(log2_histogram("batch", {}), ""); }

TEST(HistogramText, EveryValueIsInItsLine) {
  EXPECT_NE(log2_histogram("b", {{0, 1}}).find("[0] "), std::string::npos);
  EXPECT_NE(log2_histogram("b", {{1023, 1}}).find("[512, 1K) "), std::string::npos);
  EXPECT_NE(log2_histogram("b", {{1024, 1}}).find("[1K, 2K) "), std::string::npos);
  EXPECT_NE(log2_histogram("b", {{~0ULL, 1}}).find("...)"), std::string::npos);
}

TEST(HistogramLine, SaysHowManyHowMuchAndWhere) {
  EXPECT_EQ(
      histogram_line("batch", {{1, 20}, {4, 10}, {7, 970}}, Values::numbers),
      "batch                   1000       6.8         7         7  1..7                |. @|\n");
  EXPECT_EQ(
      histogram_line("batch", {{1, 2}, {4, 1}, {7, 97}}, Values::numbers),
      "batch                    100       6.8         7        ~7  1..7                |. @|\n")
      << "one value is beyond the 99th of a hundred";
  EXPECT_EQ(histogram_line("batch", {}, Values::numbers), "");
}

TEST(HistogramLine, TitlesStandAboveTheirColumns) {
  const std::string titles = histogram_titles();
  const std::string line = histogram_line("batch", {{5, 1}}, Values::numbers);
  EXPECT_EQ(titles.find("min..max"), line.find("5..5"));
  EXPECT_EQ(titles.find("mean") + 4, line.find(" 5 ") + 2);
}

TEST(HistogramLine, OfPowersOfTwoOnlyBoundsAreKnown) {
  const std::string line =
      histogram_line("delay", {{4096, 3}, {1048576, 1}}, Values::times_log2_ns, 250000);
  EXPECT_NE(line.find(" 250 us "), std::string::npos) << line;
  EXPECT_NE(line.find(" <8.19 us "), std::string::npos) << line;
  EXPECT_NE(line.find(" 4.10 us..<2.10 ms"), std::string::npos) << line;
  // Of a mean that nobody knows none is shown.
  EXPECT_NE(histogram_line("fill", {{4, 3}}, Values::numbers_log2).find(" 3         -  "),
            std::string::npos);
}

}  // namespace
}  // namespace ublkbench::probes
