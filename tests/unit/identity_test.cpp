// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bench/record/identity.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

const json env_of_run = {{"key", "0"}, {"key_fields", {{"kernel", {{"release", "7.3.4"}}}}}};

std::vector<std::string> names(const std::vector<FieldDifference>& differences) {
  std::vector<std::string> names;
  for (const FieldDifference& difference : differences) names.push_back(difference.field);
  return names;
}

TEST(Identity, IsMachineAndWork) {
  const json run = {{"id", "1"}, {"ios", 5}, {"seed", 1}, {"work", {{"direct", true}}}};
  EXPECT_EQ(identity(run, env_of_run),
            (json{{"env.kernel.release", "7.3.4"}, {"work.ios", 5}, {"work.direct", true}}));
  const json one = identity_of_one_run(run, env_of_run);
  EXPECT_EQ(one.value("seed", 0), 1);
  EXPECT_FALSE(one.contains("id"));
}

TEST(Identity, EveryDifferenceIsNamed) {
  const json a = {{"env.kernel.release", "7.3"}, {"work.ios", 1}, {"work.jobs", 1}};
  const json b = {{"env.kernel.release", "7.2"}, {"work.ios", 2}};
  EXPECT_THAT(names(differences(a, b)), ElementsAre("env.kernel.release", "work.ios", "work.jobs"));
  EXPECT_EQ(differences(a, b).back().b, "absent");
  EXPECT_THAT(differences(a, a), IsEmpty());
}

TEST(Identity, WhatVariesIsNamedWithAndWithoutItsGroup) {
  const json a = {{"env.kernel.release", "7.3"}, {"work.ios", 1}};
  const json b = {{"env.kernel.release", "7.2"}, {"work.ios", 2}};
  for (const auto& [kernel, ios] : {std::pair{"kernel", "ios"}, {"env.kernel", "work.ios"}})
    EXPECT_THAT(differences(a, b, std::vector<std::string>{kernel, ios}), IsEmpty());
  EXPECT_THAT(names(differences(a, b, std::vector<std::string>{"kern"})),
              ElementsAre("env.kernel.release", "work.ios"));
}

TEST(Identity, AnEarlierRecordHadTheDefaultOfItsTime) {
  const json before = {{"work.ios", 1}};
  EXPECT_THAT(differences(before, {{"work.ios", 1}, {"work.spin_us", 0}}), IsEmpty());
  EXPECT_THAT(names(differences(before, {{"work.ios", 1}, {"work.spin_us", 50}})),
              ElementsAre("work.spin_us"));
}

TEST(Identity, WhatOneSideDoesNotKnowIsNoDifferenceAndIsNamed) {
  const json ours = {{"work.daemons", 2}, {"work.warmup_ios", nullptr}};
  const json theirs = {
      {"work.daemons", nullptr}, {"work.warmup_ios", 7}, {"work.device.depth", 64}};
  EXPECT_THAT(names(differences(ours, theirs)), ElementsAre("work.warmup_ios"));
  const auto unknown = unknowns(ours, theirs);
  EXPECT_THAT(names(unknown), ElementsAre("work.daemons", "work.device.depth"));
  EXPECT_EQ(unknown.front().a, "2");
  EXPECT_EQ(unknown.front().b, "unknown");
  const json others = {
      {"work.daemons", nullptr}, {"work.warmup_ios", 7}, {"work.device.depth", 128}};
  EXPECT_THAT(names(differences(theirs, others)), ElementsAre("work.device.depth"));
}

}  // namespace
}  // namespace ublkbench
