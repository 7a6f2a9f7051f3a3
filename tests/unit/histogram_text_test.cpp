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

}  // namespace
}  // namespace ublkbench::probes
