// SPDX-License-Identifier: MIT
// The path-length gate: instructions per I/O of fixed work against a baseline. It says nothing of
// time, and cannot see caches, locks, or copies by rep movs as what they cost.
#pragma once

#include <span>

#include "analyzers/baseline.hpp"
#include "analyzers/gate_outcome.hpp"

namespace ublkbench::analyzers {

/// Records of the boots of one commit against the baseline. An error is bad input; all else is in
/// the outcome.
Result<GateOutcome> judge_against(const Baseline& baseline, std::span<const Record> records,
                                  const GateOptions& options);

}  // namespace ublkbench::analyzers
