// SPDX-License-Identifier: MIT
// What a run does, as its record has it: what compare, gate, trend and --resume hold against
// another run's, besides the machine.
#pragma once

#include "bench/record/run_record.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

/// Without what belongs to this run alone: its number, start, words and programs.
RunRecord describe_work(const RunOptions& options);

}  // namespace ublkbench
