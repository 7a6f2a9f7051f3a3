// SPDX-License-Identifier: MIT
#include "analyzers/path_gate.hpp"

#include <algorithm>
#include <cmath>
#include <format>

#include "analyzers/compare.hpp"

namespace ublkbench::analyzers {
namespace {

class PathGate {
 public:
  PathGate(const GateOptions& options, GateOutcome& outcome)
      : options_(options), outcome_(outcome) {}

  void judge_cells(const Baseline& baseline, const std::vector<CellRecord>& cells) {
    for (const CellRecord& expected : baseline.cells) {
      const auto found = std::ranges::find(cells, expected.id, &CellRecord::id);
      if (found == cells.end())
        inconclusive(std::format("{} is in the baseline and was not measured", expected.id));
      else
        judge_cell(expected, *found);
    }
    for (const CellRecord& cell : cells)
      if (!std::ranges::contains(baseline.cells, cell.id, &CellRecord::id))
        outcome_.new_cells.push_back(cell.id);
  }

  void conclude() {
    const bool control_moved = check_controls();
    std::size_t compared = 0;
    for (GateRow& row : outcome_.rows) {
      if (row.is_control) continue;
      if (row.judgement.verdict == Verdict::unmeasurable)
        inconclusive(std::format("{}: {} is unmeasurable: {}", row.cell, traits(row.figure).name,
                                 row.judgement.why));
      else
        ++compared;
      if (row.judgement.verdict == Verdict::worse) regressed(row, control_moved);
    }
    if (compared == 0) inconclusive("no cell was compared");
  }

 private:
  void judge_cell(const CellRecord& expected, const CellRecord& measured) {
    if (measured.samples.empty())
      return inconclusive(
          std::format("{} has no good sample: {}", measured.id,
                      measured.reason.empty() ? "none was taken" : measured.reason));
    if (measured.failed != 0)
      inconclusive(std::format("{}: {} sample(s) failed: {}", measured.id, measured.failed,
                               measured.reason));
    if (measured.samples.size() < samples_min)
      return inconclusive(std::format("{}: {} sample(s), {} are needed", measured.id,
                                      measured.samples.size(), samples_min));
    for (const Figure figure : gated_figures) {
      const std::vector<double> before = expected.values(figure);
      const std::vector<double> after = measured.values(figure);
      if (before.empty() && after.empty())
        continue;  // an external server has no figures of its own
      outcome_.rows.push_back({.cell = expected.id,
                               .figure = figure,
                               .is_control = expected.axes.is_control(),
                               .judgement = judge(before, after, Better::lower, outcome_.rule),
                               .waiver = {}});
    }
  }

  /// The control runs no line of the server: if it moved, the load generator, the block layer or
  /// the machine is another.
  bool check_controls() {
    bool moved = false;
    for (const GateRow& row : outcome_.rows) {
      if (!row.is_control || !row.judgement.ratio) continue;
      if (std::abs(std::log(*row.judgement.ratio)) <= std::log1p(control_limit(true))) continue;
      inconclusive(std::format("the control moved: {} of {} is {:.4f} of the baseline's",
                               traits(row.figure).name, row.cell, *row.judgement.ratio));
      moved = true;
    }
    return moved;
  }

  void regressed(GateRow& row, bool control_moved) {
    const auto why_not =
        objection(options_.waivers, row.cell, row.figure, *row.judgement.ratio, options_.today);
    row.waived = why_not && why_not->empty();
    row.waiver = row.waived ? "waived" : why_not.value_or("");
    if (row.waived) return;
    const std::string what =
        std::format("{}: {} {:+.2f} %{}{}", row.cell, traits(row.figure).name,
                    100 * (*row.judgement.ratio - 1), row.waiver.empty() ? "" : "; ", row.waiver);
    if (control_moved) return inconclusive(what + ", but so did the control");
    if (outcome_.verdict != GateVerdict::regression) outcome_.reasons.clear();
    outcome_.verdict = GateVerdict::regression;
    outcome_.reasons.push_back(what);
  }

  void inconclusive(std::string why) {
    if (outcome_.verdict == GateVerdict::regression) return;
    outcome_.verdict = GateVerdict::inconclusive;
    outcome_.reasons.push_back(std::move(why));
  }

  const GateOptions& options_;
  GateOutcome& outcome_;
};

}  // namespace

std::string_view name_of(GateVerdict verdict) {
  constexpr std::string_view names[] = {"pass", "regression", "inconclusive", "not comparable"};
  return names[static_cast<int>(verdict)];
}

ExitCode exit_of(GateVerdict verdict) {
  constexpr ExitCode codes[] = {ExitCode::ok, ExitCode::regression, ExitCode::inconclusive,
                                ExitCode::not_comparable};
  return codes[static_cast<int>(verdict)];
}

Result<GateOutcome> judge_against(const Baseline& baseline, std::span<const Record> records,
                                  const GateOptions& options) {
  GateOutcome outcome{.baseline = baseline.accepted, .rule = default_rule(true)};
  if (options.change) outcome.rule.change = *options.change;
  if (records.empty()) return bad_input("no record to judge", "name one or more");
  outcome.commit = records.front().run["tool"].value("commit", std::string("unknown"));
  for (const Record& record : records) {
    outcome.unlike = differences(baseline.fields, record.comparable_fields(), options.vary);
    if (outcome.unlike.empty()) continue;
    outcome.verdict = GateVerdict::not_comparable;
    outcome.reasons.push_back(
        std::format("{} was measured in another environment than the baseline", record.path));
    return outcome;
  }
  const auto cells = pooled_cells(records);
  if (!cells) return std::unexpected(cells.error());
  PathGate gate(options, outcome);
  gate.judge_cells(baseline, *cells);
  gate.conclude();
  return outcome;
}

}  // namespace ublkbench::analyzers
