// SPDX-License-Identifier: MIT
#include "bench/record/cpu_quota.hpp"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/temporary_folder.hpp"

namespace ublkbench {
namespace {

constexpr const char* v2_mount =
    "24 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

class CpuQuotaTest : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    folder_.write(path.substr(1), text);
  }
  std::optional<CpuQuota> quota() { return cpu_quota_of(7, SystemFiles(folder_.path())); }

  TemporaryFolder folder_;
};

TEST_F(CpuQuotaTest, LowestOfTheGroupsAbove) {
  write("/proc/self/mountinfo", v2_mount);
  write("/proc/7/cgroup", "0::/a/b/c\n");
  write("/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
  write("/sys/fs/cgroup/a/cpu.stat", "nr_periods 1\nnr_throttled 0\nthrottled_usec 0\n");
  write("/sys/fs/cgroup/a/b/cpu.max", "5000 100000\n");
  write("/sys/fs/cgroup/a/b/cpu.stat",
        "usage_usec 77\nnr_periods 40\nnr_throttled 39\nthrottled_usec 3705000\n");
  write("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
  const auto found = quota();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->group, "/sys/fs/cgroup/a/b");
  EXPECT_DOUBLE_EQ(found->cpus, 0.05);
  EXPECT_EQ(found->periods, 40U);
  EXPECT_EQ(found->throttled_periods, 39U);
  EXPECT_EQ(found->throttled_ns, 3'705'000'000U);
}

TEST_F(CpuQuotaTest, NoneIsNone) {
  EXPECT_FALSE(quota());  // neither mount nor process
  write("/proc/self/mountinfo", v2_mount);
  write("/proc/7/cgroup", "0::/a\n");
  EXPECT_FALSE(quota());  // no controller
  write("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
  EXPECT_FALSE(quota());
}

TEST_F(CpuQuotaTest, AContainerSeesTheQuotaOfItsOwnRoot) {
  write("/proc/self/mountinfo", v2_mount);
  write("/proc/7/cgroup", "0::/\n");
  write("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  write("/sys/fs/cgroup/cpu.stat", "nr_periods 9\nnr_throttled 1\nthrottled_usec 5\n");
  const auto found = quota();
  ASSERT_TRUE(found);
  EXPECT_DOUBLE_EQ(found->cpus, 1.5);
  write("/proc/7/cgroup", "0::/../other\n");  // beyond what this namespace shows
  EXPECT_FALSE(quota());
}

TEST_F(CpuQuotaTest, TheOlderControllerToo) {
  write("/proc/self/mountinfo",
        "30 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  write("/proc/7/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/docker/x\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "50000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.stat",
        "nr_periods 10\nnr_throttled 4\nthrottled_time 123\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  const auto found = quota();
  ASSERT_TRUE(found);
  EXPECT_DOUBLE_EQ(found->cpus, 0.5);
  EXPECT_EQ(found->throttled_ns, 123U);
}

TEST(CpuQuotaDifference, OfOneGroup) {
  const CpuQuota early{
      .group = "/a", .cpus = 1, .periods = 5, .throttled_periods = 2, .throttled_ns = 3};
  CpuQuota late{.group = "/a", .cpus = 1, .periods = 9, .throttled_periods = 6, .throttled_ns = 13};
  EXPECT_EQ((late - early).throttled_periods, 4U);
  EXPECT_EQ((late - early).throttled_ns, 10U);
  late.group = "/b";
  EXPECT_EQ((late - early).throttled_periods, 6U);
}

}  // namespace
}  // namespace ublkbench
