// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/record/identity.hpp"

namespace ublkbench {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const Facts env_of_run =
    facts_of(R"({"key": "0", "key_fields": {"kernel": {"release": "7.3.4"}}})");

std::vector<std::string> names(const std::vector<FieldDifference>& differences) {
  std::vector<std::string> names;
  for (const FieldDifference& difference : differences) names.push_back(difference.field);
  return names;
}

TEST(Identity, IsMachineAndWork) {
  const Facts run = facts_of(R"({"id": "1", "ios": 5, "seed": 1, "work": {"direct": true}})");
  EXPECT_EQ(
      identity(run, env_of_run),
      (Facts{{"env.kernel.release", R"("7.3.4")"}, {"work.ios", "5"}, {"work.direct", "true"}}));
  const Facts one = identity_of_one_run(run, env_of_run);
  EXPECT_EQ(fact_number(one, "seed"), 1);
  EXPECT_FALSE(one.contains("id"));
}

TEST(Identity, EveryDifferenceIsNamed) {
  const Facts a = {{"env.kernel.release", R"("7.3")"}, {"work.ios", "1"}, {"work.jobs", "1"}};
  const Facts b = {{"env.kernel.release", R"("7.2")"}, {"work.ios", "2"}};
  EXPECT_THAT(names(differences(a, b)), ElementsAre("env.kernel.release", "work.ios", "work.jobs"));
  EXPECT_EQ(differences(a, b).back().b, "absent");
  EXPECT_THAT(differences(a, a), IsEmpty());
}

TEST(Identity, WhatVariesIsNamedWithAndWithoutItsGroup) {
  const Facts a = {{"env.kernel.release", R"("7.3")"}, {"work.ios", "1"}};
  const Facts b = {{"env.kernel.release", R"("7.2")"}, {"work.ios", "2"}};
  for (const auto& [kernel, ios] : {std::pair{"kernel", "ios"}, {"env.kernel", "work.ios"}})
    EXPECT_THAT(differences(a, b, std::vector<std::string>{kernel, ios}), IsEmpty());
  EXPECT_THAT(names(differences(a, b, std::vector<std::string>{"kern"})),
              ElementsAre("env.kernel.release", "work.ios"));
}

TEST(Identity, AnEarlierRecordHadTheDefaultOfItsTime) {
  const Facts before = {{"work.ios", "1"}};
  EXPECT_THAT(differences(before, Facts{{"work.ios", "1"}, {"work.spin_us", "0"}}), IsEmpty());
  EXPECT_THAT(names(differences(before, Facts{{"work.ios", "1"}, {"work.spin_us", "50"}})),
              ElementsAre("work.spin_us"));
}

TEST(Identity, WhatOneSideDoesNotKnowIsNoDifferenceAndIsNamed) {
  const Facts ours = {{"work.daemons", "2"}, {"work.warmup_ios", "null"}};
  const Facts theirs = {
      {"work.daemons", "null"}, {"work.warmup_ios", "7"}, {"work.device.depth", "64"}};
  EXPECT_THAT(names(differences(ours, theirs)), ElementsAre("work.warmup_ios"));
  const auto unknown = unknowns(ours, theirs);
  EXPECT_THAT(names(unknown), ElementsAre("work.daemons", "work.device.depth"));
  EXPECT_EQ(unknown.front().a, "2");
  EXPECT_EQ(unknown.front().b, "unknown");
  const Facts others = {
      {"work.daemons", "null"}, {"work.warmup_ios", "7"}, {"work.device.depth", "128"}};
  EXPECT_THAT(names(differences(theirs, others)), ElementsAre("work.device.depth"));
}

}  // namespace
}  // namespace ublkbench
