// SPDX-License-Identifier: MIT
// What a matrix will take, before it is run.
#pragma once

#include <cstdint>
#include <string>

#include "bench/suite/plan.hpp"

namespace ublkbench {

/// Of one sample of a cell, warm-up included; without verification.
struct Estimate {
  std::uint64_t ns = 0;
  std::uint64_t bytes = 0;  ///< that are read or written; 0 where time decides
};
Estimate estimate_of(const RunOptions& options, const Cell& cell);

/// Of all samples.
Estimate estimate_of(const RunOptions& options, const Plan& plan);

/// "about 40 s", "about 33 min"; and how much data, where that is gigabytes.
std::string in_words(const Estimate& estimate);

}  // namespace ublkbench
