// SPDX-License-Identifier: MIT
// Reads what a thread has consumed so far.
#pragma once

#include "bench/base/fd.hpp"
#include "bench/record/load_report.hpp"

namespace ublkbench::load {

/// Reads the usage of the thread that created it; use it in that thread only.
class ThreadMeter {
 public:
  ThreadMeter();
  [[nodiscard]] ThreadUsage read() const;

 private:
  Fd instructions_;  // a perf counter; invalid where there is none (most virtual machines)
};

}  // namespace ublkbench::load
