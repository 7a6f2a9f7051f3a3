// SPDX-License-Identifier: MIT
// The path-length gate: instructions per I/O of fixed work against a baseline. It says nothing of
// time, and cannot see caches, locks, or copies by rep movs as what they cost.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analyzers/baseline.hpp"
#include "analyzers/environment_diff.hpp"
#include "analyzers/judge.hpp"
#include "analyzers/waivers.hpp"

namespace ublkbench::analyzers {

struct GateOptions {
  std::optional<double> change;   ///< instead of the default rule's
  std::vector<std::string> vary;  ///< fields that may differ from the baseline's
  std::vector<Waiver> waivers;
  std::string today;  ///< YYYY-MM-DD
};

struct GateRow {
  std::string cell;
  Figure figure = Figure::total_instructions;
  bool is_control = false;
  Judgement judgement;
  std::string waiver;  ///< why the regression stands, or "waived"; empty without a waiver
  bool waived = false;
};

enum class GateVerdict : std::uint8_t { pass, regression, inconclusive, not_comparable };
std::string_view name_of(GateVerdict verdict);
ExitCode exit_of(GateVerdict verdict);

struct GateOutcome {
  GateVerdict verdict = GateVerdict::pass;
  std::vector<std::string> reasons;  ///< of anything but a pass
  std::vector<GateRow> rows;
  std::vector<std::string> new_cells;  ///< measured, but not in the baseline
  std::vector<FieldDifference> unlike;
  Acceptance baseline;
  std::string commit;  ///< what is judged
  Rule rule;
};

/// Records of the boots of one commit against the baseline. An error is bad input; all else is in
/// the outcome.
Result<GateOutcome> judge_against(const Baseline& baseline, std::span<const Record> records,
                                  const GateOptions& options);

std::string gate_text(const GateOutcome& outcome);
std::string gate_markdown(const GateOutcome& outcome);
nlohmann::json gate_json(const GateOutcome& outcome);

}  // namespace ublkbench::analyzers
