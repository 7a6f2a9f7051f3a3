// SPDX-License-Identifier: MIT
// What a thread has consumed so far: two snapshots around a window give its share.
#pragma once

#include <cstdint>
#include <optional>

#include "bench/base/fd.hpp"

namespace ublkbench::load {

struct ThreadUsage {
  std::uint64_t cpu_ns = 0;                   ///< user and kernel
  std::uint64_t voluntary_switches = 0;       ///< the thread slept
  std::uint64_t involuntary_switches = 0;     ///< the thread was preempted
  std::optional<std::uint64_t> instructions;  ///< user and kernel; empty without a counter

  ThreadUsage& operator+=(const ThreadUsage& other);
};

ThreadUsage operator-(const ThreadUsage& later, const ThreadUsage& earlier);

/// Reads the usage of the thread that created it; use it in that thread only.
class ThreadMeter {
 public:
  ThreadMeter();
  [[nodiscard]] ThreadUsage read() const;

 private:
  Fd instructions_;  // a perf counter; invalid where there is none (most virtual machines)
};

}  // namespace ublkbench::load
