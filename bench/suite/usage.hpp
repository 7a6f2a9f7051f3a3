// SPDX-License-Identifier: MIT
// What the server did between the two edges of a measured window, by its own counters and by the
// kernel's accounting of its threads.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/server/counters.hpp"

namespace ublkbench {

/// How many events had each size; exact.
using SizeCounts = std::map<unsigned, std::uint64_t>;

struct ServerUsage {
  std::uint64_t fetched_ios = 0;
  std::uint64_t committed_ios = 0;
  std::uint64_t failed_ios = 0;
  std::uint64_t enters = 0;
  std::uint64_t registered_by_hand = 0;
  std::uint64_t shared_memory_hits = 0;
  std::uint64_t shared_memory_misses = 0;
  std::uint64_t wakes = 0;
  std::uint64_t fetch_rearmed = 0;
  std::uint64_t in_flight_ios = 0;  ///< of a target with a connection, at the later edge
  std::uint64_t chained_send_ios = 0;
  std::uint64_t send_sqe_chain_busy = 0;
  SizeCounts fetch_batch;
  SizeCounts commit_batch;
  std::uint64_t cpu_ns = 0;  ///< of the daemons' threads, user and kernel
  std::uint64_t voluntary_switches = 0;
  std::uint64_t involuntary_switches = 0;
  std::optional<std::uint64_t> instructions;

  [[nodiscard]] nlohmann::json to_json() const;
};

ServerUsage operator-(const ServerUsage& later, const ServerUsage& earlier);

/// Mean size of an event, 0 without events.
double mean_size(const SizeCounts& counts);

/// Reads a server's usage from another process.
class ServerMeter {
 public:
  ServerMeter(pid_t process, std::span<const DaemonCounters> counters);
  [[nodiscard]] ServerUsage read() const;

 private:
  pid_t process_;
  std::span<const DaemonCounters> counters_;
  std::vector<Fd> instruction_counters_;  // one a daemon; empty where the CPU has none
};

/// log2 of the nanoseconds per instruction under QEMU's -icount, from UBLKBENCH_ICOUNT_SHIFT, which
/// scripts/vm sets; nothing elsewhere. With it, CPU time *is* an instruction count.
std::optional<unsigned> icount_shift();

}  // namespace ublkbench
