// SPDX-License-Identifier: MIT
// What a gate found, and the one way to a verdict: regressions, waivers, controls, what is missing.
// The path-length gate and the hardware gate fill in the rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzers/judge.hpp"
#include "analyzers/waivers.hpp"
#include "bench/base/result.hpp"
#include "bench/record/identity.hpp"

namespace ublkbench::analyzers {

struct GateOptions {
  std::optional<double> change;   ///< instead of the default rule's
  std::vector<std::string> vary;  ///< fields that may differ between the two sides
  std::vector<Waiver> waivers;
  std::string today;  ///< YYYY-MM-DD
};

enum class GateKind : std::uint8_t { path_length, hardware };
std::string_view name_of(GateKind kind);

struct GateRow {
  std::string cell;
  Figure figure = Figure::total_instructions;
  bool is_control = false;
  bool gated = true;  ///< false: shown, and decides nothing
  Judgement judgement;
  /// Of a flagged cell of the hardware gate: the judgement that flagged it; `judgement` is then of
  /// the fresh pairs, and the only one that counts.
  std::optional<Judgement> flagged;
  std::string waiver;  ///< why the regression stands, or "waived"; empty without a waiver
  bool waived = false;
};

enum class GateVerdict : std::uint8_t { pass, regression, inconclusive, not_comparable };
std::string_view name_of(GateVerdict verdict);
ExitCode exit_of(GateVerdict verdict);

/// What is judged, or what it is held against.
struct GateSide {
  std::string what;  ///< "baseline", or a program's path
  std::string commit;
  std::string at;      ///< when it was accepted
  std::string reason;  ///< why it was accepted
};

struct GateOutcome {
  GateKind kind = GateKind::path_length;
  GateVerdict verdict = GateVerdict::pass;
  std::vector<std::string> reasons;  ///< of anything but a pass
  std::vector<GateRow> rows;
  std::vector<std::string> new_cells;  ///< measured, but not in the baseline
  std::vector<FieldDifference> unlike;
  std::vector<std::string> remarks;  ///< what is worth knowing whatever the verdict
  GateSide before;
  GateSide now;
  Rule rule;
  std::size_t pairs = 0;  ///< of the hardware gate

  void inconclusive(std::string why);
  void not_comparable(std::string why, std::vector<FieldDifference> fields);
};

/// The verdict of the rows: a regression that no waiver covers, unless a control moved; without
/// one, what is unmeasurable is inconclusive.
void conclude(GateOutcome& outcome, const GateOptions& options);

/// Whether all differences are of what the tree does not decide: kernel, machine, compiler.
bool only_environment_moved(const GateOutcome& outcome);

std::string gate_text(const GateOutcome& outcome);
std::string gate_markdown(const GateOutcome& outcome);
/// JSON.
std::string gate_document(const GateOutcome& outcome);

}  // namespace ublkbench::analyzers
