// SPDX-License-Identifier: MIT
// Reads what servers used so far, from another process.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/record/server_usage.hpp"
#include "bench/server/counters.hpp"

namespace ublkbench {

/// A server of ours.
class ServerMeter {
 public:
  ServerMeter(pid_t process, std::span<const DaemonCounters> counters);
  [[nodiscard]] ServerUsage read() const;

 private:
  pid_t process_;
  std::span<const DaemonCounters> counters_;
  std::vector<Fd> instruction_counters_;  // one a daemon; empty where the CPU has none
};

/// Somebody else's; nothing where the process is gone, or hidden.
std::optional<ProcessUsage> usage_of_process(pid_t process);

/// log2 of the nanoseconds per instruction under QEMU's -icount, from UBLKBENCH_ICOUNT_SHIFT, which
/// scripts/vm sets; nothing elsewhere. With it, CPU time *is* an instruction count.
std::optional<unsigned> icount_shift();

}  // namespace ublkbench
