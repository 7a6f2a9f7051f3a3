// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/known_kernels.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace ublkbench {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

std::vector<std::string_view> names(std::string_view release, std::string_view proc_version = {},
                                    std::string_view signature = {}) {
  const auto kernel = running_kernel(release, proc_version, signature);
  std::vector<std::string_view> found;
  if (!kernel) return {"unparsed"};
  for (const KernelFault& fault : faults_of(*kernel)) found.push_back(fault.name);
  return found;
}

TEST(KernelVersion, IsReadFromReleases) {
  EXPECT_EQ(parse_kernel_version("7.3.4+deb13-cloud-amd64"), (KernelVersion{7, 3, 4}));
  EXPECT_EQ(parse_kernel_version("6.17.0-1015-azure"), (KernelVersion{6, 17, 0}));
  EXPECT_EQ(parse_kernel_version("7.4-rc2"), (KernelVersion{7, 4, 0, 2}));
  EXPECT_EQ(parse_kernel_version("7.3~rc7-1~exp1 (2026-09-01)"), (KernelVersion{7, 3, 0, 7}));
  EXPECT_LT((KernelVersion{7, 3, 0, 7}), (KernelVersion{7, 3, 0}));
  EXPECT_EQ(parse_kernel_version("6.18.40"), (KernelVersion{6, 18, 40}));
  EXPECT_EQ(parse_kernel_version("linux"), std::nullopt);
  EXPECT_EQ(parse_kernel_version(""), std::nullopt);
  EXPECT_EQ(parse_kernel_version("7"), std::nullopt);
}

TEST(KnownKernels, AddDevOopsIsIn6_18_4And5Only) {
  EXPECT_THAT(names("6.18.3"), Not(Contains("ADD_DEV oops")));
  EXPECT_THAT(names("6.18.4-arch1-1"), Contains("ADD_DEV oops"));
  EXPECT_THAT(names("6.18.5"), Contains("ADD_DEV oops"));
  EXPECT_THAT(names("6.18.6"), Not(Contains("ADD_DEV oops")));
  EXPECT_THAT(names("6.17.0-5-generic"), Not(Contains("ADD_DEV oops")));
  EXPECT_THAT(names("6.17.0-1015-azure"), Contains("ADD_DEV oops"));
  EXPECT_THAT(names("6.8.0-1052-azure"), Not(Contains("ADD_DEV oops")));
}

/// Whether ADD_DEV must not be tried there.
bool is_broken(std::string_view release) {
  const auto kernel = running_kernel(release, {}, {});
  return kernel && std::ranges::any_of(faults_of(*kernel), &KernelFault::breaks_everything);
}

TEST(KnownKernels, UbuntusBuildsAreToldApartByTheirNumbers) {
  for (const char* bad : {"6.17.0-35-generic", "6.17.0-38-generic", "6.17.0-40-generic",
                          "6.17.0-1015-azure", "6.17.0-1020-azure", "6.17.0-1019-aws"})
    EXPECT_TRUE(is_broken(bad)) << bad;
  for (const char* good : {"6.17.0-14-generic", "6.17.0-41-generic", "6.17.0-1021-azure",
                           "6.17.0-1020-aws", "6.17.0-35.fc43.x86_64", "6.8.0-35-generic"})
    EXPECT_FALSE(is_broken(good)) << good;
  EXPECT_THAT(names("6.17.0-29-generic"), Contains("ADD_DEV oops"));
  EXPECT_FALSE(is_broken("6.17.0-29-generic"));
  EXPECT_THAT(names("6.17.0-41-generic"), Not(Contains("ADD_DEV oops")));
}

TEST(KnownKernels, LostControlCommandIsNamedWhereItWasSeen) {
  EXPECT_THAT(names("6.18.40"), Contains("control command lost"));
  EXPECT_THAT(names("7.0.14-generic"), Contains("control command lost"));
  EXPECT_THAT(names("7.0.13"), Not(Contains("control command lost")));
}

TEST(KnownKernels, DefectsOf7_3HaveNoFixYet) {
  EXPECT_THAT(names("7.3.4+deb13-cloud-amd64"), ElementsAre("QUIESCE_MISSED", "CANCEL_LIVELOCK"));
}

TEST(KnownKernels, BatchDevicesLoseIoAfterQuiesceUntilTheFix) {
  constexpr const char* fault = "batch device after QUIESCE_DEV";
  for (const char* bad : {"7.0.14", "7.2.6", "7.3-rc1", "7.3.0-rc2"})
    EXPECT_THAT(names(bad), Contains(fault)) << bad;
  for (const char* good : {"6.18.9", "7.2.7", "7.3-rc3", "7.3.0", "7.3.4"})
    EXPECT_THAT(names(good), Not(Contains(fault))) << good;
}

TEST(KnownKernels, FaultsOfOlderKernels) {
  EXPECT_THAT(names("6.10.14"), Contains("write-zeroes cut short"));
  EXPECT_THAT(names("6.11.0"), Not(Contains("write-zeroes cut short")));
  EXPECT_THAT(names("6.16.9"), Not(Contains("START_DEV in a PID namespace")));
  EXPECT_THAT(names("6.17.0"), Contains("START_DEV in a PID namespace"));
  EXPECT_THAT(names("6.18.7"), Contains("START_DEV in a PID namespace"));
  EXPECT_THAT(names("6.18.8"), Not(Contains("START_DEV in a PID namespace")));
  EXPECT_THAT(names("7.3.3"), Contains("oops at a server's end"));
  EXPECT_THAT(names("7.3.4"), Not(Contains("oops at a server's end")));
}

TEST(KnownKernels, DistributionsTellTheUpstreamVersionElsewhere) {
  EXPECT_THAT(
      names("6.12-amd64", "Linux version 6.12 (x) #1 SMP PREEMPT_DYNAMIC Debian 6.18.4-1 (d)"),
      Contains("ADD_DEV oops"));
  EXPECT_THAT(names("6.18.0-8-generic", {}, "Ubuntu 6.18.0-8.8-generic 6.18.5"),
              Contains("ADD_DEV oops"));
  // A compiler of Debian's is not a kernel of Debian's.
  EXPECT_THAT(
      names("6.18.4", "Linux version 6.18.4 (gcc (Debian 14.2.0-19) 14.2.0) #1 SMP PREEMPT"),
      Contains("ADD_DEV oops"));
}

TEST(KnownKernels, EveryRowSaysWhatToDoAndWhereItIsFrom) {
  for (const KernelFault& fault : kernel_faults()) {
    EXPECT_FALSE(fault.finding.empty()) << fault.name;
    EXPECT_FALSE(fault.advice.empty()) << fault.name;
    EXPECT_FALSE(fault.source.empty()) << fault.name;
    EXPECT_TRUE(fault.fixed == KernelVersion{} || fault.first < fault.fixed) << fault.name;
  }
}

}  // namespace
}  // namespace ublkbench
