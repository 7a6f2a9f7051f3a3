// SPDX-License-Identifier: MIT
#include "bench/record/axes.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/run_document.hpp"

namespace ublkbench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Axis& scheduler() { return *axis_named("scheduler"); }

TEST(Axes, TheDefaultLeavesNoTrace) {
  const Axes axes{.mode = "copy", .target = "null", .depth = 1, .block_bytes = 4096};
  EXPECT_EQ(axes.name(), "copy null qd=1 bs=4k");
  EXPECT_TRUE(scheduler().is_blank(axes));
  EXPECT_EQ(scheduler().text(axes), "none") << "as it is typed";
  Axes set = axes;
  ASSERT_TRUE(scheduler().set(set, "none"));
  EXPECT_EQ(set, axes);
  ASSERT_TRUE(scheduler().set(set, "kyber"));
  EXPECT_EQ(set.name(), "copy null qd=1 bs=4k scheduler=kyber");
}

TEST(Axes, AListGivesACombinationForEachValue) {
  const auto once = crossed({Axes{}}, scheduler(), "none,kyber");
  ASSERT_TRUE(once);
  const auto twice = crossed(*once, *axis_named("qd"), "1,8");
  ASSERT_TRUE(twice);
  std::vector<std::string> names;
  for (const Axes& axes : *twice) names.push_back(axes.name());
  EXPECT_THAT(names, ElementsAre("qd=1", "qd=8", "qd=1 scheduler=kyber", "qd=8 scheduler=kyber"));
}

TEST(Axes, ABadValueIsNamed) {
  const auto empty = crossed({Axes{}}, scheduler(), "none,");
  ASSERT_FALSE(empty);
  EXPECT_THAT(empty.error().message(), HasSubstr("--scheduler ''"));
  const auto word = crossed({Axes{}}, scheduler(), "mq deadline");
  ASSERT_FALSE(word);
  EXPECT_THAT(word.error().message(), HasSubstr("--scheduler 'mq deadline'"));
}

TEST(Axes, ACellAndItsControlAreLoadedAlike) {
  const Axes cell{.kind = "ublk", .mode = "copy", .target = "null", .depth = 8, .probes = "batch"};
  const Axes control{.kind = "control", .mode = "(null_blk)", .target = "null_blk", .depth = 8};
  EXPECT_TRUE(same_load(cell, control));
  Axes other = control;
  other.scheduler = "kyber";
  EXPECT_FALSE(same_load(cell, other));
}

TEST(Axes, ThePlanHasACellAndAControlForEachSetting) {
  RunOptions options = test::two_modes();
  options.depths = {8};
  const auto without = make_plan(options);
  options.settings = *crossed({Axes{}}, scheduler(), "none,kyber");
  const auto with = make_plan(options);
  ASSERT_TRUE(without && with);
  EXPECT_EQ(without->cells.size(), 3U);
  EXPECT_EQ(with->cells.size(), 6U);
  std::set<std::string> schedulers;
  for (const Cell& cell : with->cells) schedulers.insert(cell.scheduler());
  EXPECT_THAT(schedulers, ElementsAre("kyber", "none"));
  for (const Cell& cell : without->cells)
    EXPECT_TRUE(std::ranges::contains(with->cells, cell.name(), &Cell::name))
        << cell.name() << " is the same cell with the axis";
}

}  // namespace
}  // namespace ublkbench
