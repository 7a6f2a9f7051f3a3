// SPDX-License-Identifier: MIT
// Histograms as bpftrace prints them: people know the picture.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace ublkbench::probes {

/// How many events had each value.
using ValueCounts = std::map<std::uint64_t, std::uint64_t>;

/// "@name: " and a line a power of two, from the lowest that has events to the highest:
/// "[4, 8)      123 |@@@@      |". Values are printed with K, M, G for powers of 1024.
std::string log2_histogram(const std::string& name, const ValueCounts& counts);

}  // namespace ublkbench::probes
