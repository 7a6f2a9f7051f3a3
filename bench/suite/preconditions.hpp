// SPDX-License-Identifier: MIT
// What a matrix needs of this machine and can be known before it starts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

/// CPUs, probes, devices' limits, memory and files: the first that does not do, by name. Nothing is
/// written.
Result<> check_preconditions(const RunOptions& options, const Plan& plan);

/// Refuses a name of "batch,latency" that is not among `known`.
Result<> check_probe_names(const std::string& probes, const std::vector<std::string>& known);

/// Bytes of memory that the cell fills: its target's, its load's and its server's.
std::uint64_t memory_needed(const RunOptions& options, const Cell& cell,
                            std::uint64_t target_bytes);

/// What can be had now: MemAvailable, or less where a cgroup of this process allows no more. `root`
/// is put before every path (for tests).
std::uint64_t memory_available(const std::string& root = {});

}  // namespace ublkbench
