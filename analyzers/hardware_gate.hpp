// SPDX-License-Identifier: MIT
// The hardware gate: two builds measured in turns in one sitting on one machine. No stored figures:
// a time of another day is no baseline. This judges; bench/tools/ublkbench/sitting.hpp measures.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analyzers/gate_outcome.hpp"
#include "analyzers/record.hpp"

namespace ublkbench::analyzers {

/// A cell's samples of both sides: the first of one was measured right beside the first of the
/// other, and so on.
struct PairedCell {
  CellRecord before;
  CellRecord now;
  std::uint64_t ios = 0;  ///< of a sample

  [[nodiscard]] bool is_control() const { return before.axes.is_control(); }
};

/// The rule for a figure of time: 5 % for ns/IO, 15 % for the 99th percentile.
Rule hardware_rule(Figure figure, std::optional<double> change);

/// The rows of one cell: ns/IO and, from 10,000 I/Os a sample on, the 99th percentile decide;
/// instructions by side, where a counter is, are shown.
std::vector<GateRow> judge_pairs(const PairedCell& cell, const GateOptions& options);

/// Whether more pairs could decide what these cannot: the interval is too wide. It looks at nothing
/// else, so that stopping by it does not favour a verdict.
bool is_too_wide(const std::vector<GateRow>& rows, const GateOptions& options);
bool is_flagged(const std::vector<GateRow>& rows);

/// Why times of this machine decide nothing; empty if they may. `record` is the sitting's first.
std::vector<std::string> unfit(const Record& record);
/// What happened to the machine between the first and the last record.
std::optional<std::string> disturbed(const Record& first, const Record& last);

}  // namespace ublkbench::analyzers
