// SPDX-License-Identifier: MIT
// How much CPU the control group of a process may use, and how often it was stopped for that: a
// process that the scheduler holds back sleeps as one that waits does.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "bench/record/fields.hpp"
#include "bench/record/system_files.hpp"

namespace ublkbench {

struct CpuQuota {
  std::string group;                    ///< the folder of the group that has it
  double cpus = 0;                      ///< it may use so many
  std::uint64_t periods = 0;            ///< in which it ran (Documentation/admin-guide/cgroup-v2)
  std::uint64_t throttled_periods = 0;  ///< in which it had used up its share
  std::uint64_t throttled_ns = 0;       ///< of all CPUs together

  static constexpr auto fields() {
    using Q = CpuQuota;
    return std::tuple(field("group", &Q::group), required("cpus", &Q::cpus),
                      counter("periods", &Q::periods, FieldKind::required),
                      counter("throttled_periods", &Q::throttled_periods, FieldKind::required),
                      counter("throttled_ns", &Q::throttled_ns));
  }
};

/// The lowest quota from the process's group up to the root that this process sees; nothing without
/// one. cgroup v2, and v1's controller cpu.
std::optional<CpuQuota> cpu_quota_of(pid_t process, const SystemFiles& files = SystemFiles(""));

/// The same quota with the counts that are in the text of its group's cpu.stat.
CpuQuota with_counts(CpuQuota quota, const std::string& cpu_stat);

/// What happened between two readings of one group; `later` with its counts if it is another one.
CpuQuota operator-(const CpuQuota& later, const CpuQuota& earlier);

}  // namespace ublkbench
