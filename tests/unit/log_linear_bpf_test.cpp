// SPDX-License-Identifier: MIT
// The header as a BPF program sees it: without count-leading-zeros. Only its own, differently named
// types and functions are used here, so this file includes no other header of ours.
#include <gtest/gtest.h>
#include <linux/types.h>

#include <cstdint>

namespace bpf_view {
#define __bpf__  // NOLINT(bugprone-reserved-identifier): the compiler's own macro for BPF
#include "bench/base/log_linear.h"
#undef __bpf__
}  // namespace bpf_view

namespace {

TEST(LogLinearBpf, TopBitNeedsNoSpecialInstruction) {
  for (std::uint32_t bit = 0; bit < 64; ++bit) {
    const std::uint64_t power = std::uint64_t{1} << bit;
    EXPECT_EQ(bpf_view::log_linear_top_bit(power), bit);
    EXPECT_EQ(bpf_view::log_linear_top_bit(power | (power - 1)), bit);
  }
}

TEST(LogLinearBpf, SlotsAreThoseOfUserSpace) {
  EXPECT_EQ(bpf_view::log_linear_slot(0), 0U);
  EXPECT_EQ(bpf_view::log_linear_slot(127), 127U);
  EXPECT_EQ(bpf_view::log_linear_slot(128), 128U);
  EXPECT_EQ(bpf_view::log_linear_slot(~std::uint64_t{0}), LOG_LINEAR_SLOTS - 1);
  for (std::uint32_t slot = 0; slot < LOG_LINEAR_SLOTS; ++slot)
    ASSERT_EQ(bpf_view::log_linear_slot(bpf_view::log_linear_lowest(slot)), slot);
}

}  // namespace
