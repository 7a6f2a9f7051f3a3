// SPDX-License-Identifier: MIT
#include "probes/lib/hooks.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "probes/lib/kernel_types.hpp"

namespace ublkbench::probes {
namespace {

class ProbeHooks : public testing::Test {
 protected:
  /// The place of the way that is chosen where the kernel has these functions; -1: none.
  static long chosen(Preference preference, const std::set<std::string_view>& functions) {
    const Way* const way = best_way(
        role(), preference, [&](const Hook& hook) { return functions.contains(hook.target); });
    return way == nullptr ? -1 : way - role().ways.data();
  }

  static const Role& role() {
    static const Role of_requests{
        .name = "requests",
        .ways = {{.hooks = {call_of("counted", 1)}},
                 {.hooks = {call_of("list", 2), call_of("batch_list", 2)}},
                 {.hooks = {call_of("list", 2)}}}};
    return of_requests;
  }
};

TEST_F(ProbeHooks, TheFirstWayThatIsThereIsTheCheapest) {
  EXPECT_EQ(chosen(Preference::cheapest, {"counted", "list", "batch_list"}), 0);
  EXPECT_EQ(chosen(Preference::cheapest, {"list", "batch_list"}), 1);
  EXPECT_EQ(chosen(Preference::cheapest, {"list"}), 2);
  EXPECT_EQ(chosen(Preference::cheapest, {"batch_list"}), -1);
}

TEST_F(ProbeHooks, TheMostGeneralWayCountsNoLess) {
  EXPECT_EQ(chosen(Preference::most_general, {"counted", "list", "batch_list"}), 1);
  EXPECT_EQ(chosen(Preference::most_general, {"list", "batch_list"}), 1);
}

TEST_F(ProbeHooks, WhatAKernelLacksIsDoneWithout) {
  EXPECT_EQ(chosen(Preference::most_general, {"counted", "list"}), 2);
  EXPECT_EQ(chosen(Preference::most_general, {"counted"}), 0);
}

TEST(ProbeSymbols, OfAFunctionThatTheCompilerRenamed) {
  const auto pick = [](const std::vector<std::string>& symbols) {
    return pick_symbol(symbols, "ublk_fail.*");
  };
  EXPECT_EQ(pick({"ublk_fail"}), "ublk_fail");
  EXPECT_EQ(pick({"ublk_fail.constprop.0"}), "ublk_fail.constprop.0");
  EXPECT_EQ(pick({"ublk_fail.constprop.0.cold", "ublk_fail.constprop.0"}), "ublk_fail.constprop.0");
  EXPECT_EQ(pick({"ublk_fail.cold"}), "");
  EXPECT_EQ(pick({"ublk_failed", "ublk_fail_req.part.0", "__ublk_fail"}), "");
}

}  // namespace
}  // namespace ublkbench::probes
