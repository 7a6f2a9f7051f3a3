// SPDX-License-Identifier: MIT
#include "analyzers/path_gate.hpp"

#include <algorithm>
#include <iterator>

#include "analyzers/queue_settings.hpp"
#include "bench/base/format.hpp"

namespace ublkbench::analyzers {
namespace {

void judge_cell(const CellRecord& expected, const CellRecord& measured, GateOutcome& outcome) {
  if (measured.samples.empty())
    return outcome.inconclusive(
        formatted("{} has no good sample: {}", measured.id,
                  measured.reason.empty() ? "none was taken" : measured.reason));
  if (measured.failed != 0)
    outcome.inconclusive(
        formatted("{}: {} sample(s) failed: {}", measured.id, measured.failed, measured.reason));
  if (measured.samples.size() < samples_min)
    return outcome.inconclusive(formatted("{}: {} sample(s), {} are needed", measured.id,
                                          measured.samples.size(), samples_min));
  for (const Figure figure : gated_figures) {
    const std::vector<double> before = expected.values(figure);
    const std::vector<double> after = measured.values(figure);
    // An external server may have none of its own, or had none when the baseline was made.
    if (before.empty()) continue;
    outcome.rows.push_back({.cell = expected.id,
                            .figure = figure,
                            .is_control = expected.axes.is_control(),
                            .judgement = judge(before, after, Better::lower, outcome.rule),
                            .flagged = {},
                            .waiver = {}});
  }
}

std::vector<FieldDifference> other_work(const Baseline& baseline,
                                        const std::vector<CellRecord>& cells) {
  std::vector<FieldDifference> found;
  for (const CellRecord& expected : baseline.cells)
    if (const auto cell = std::ranges::find(cells, expected.id, &CellRecord::id);
        cell != cells.end() && cell->ios != expected.ios)
      found.push_back({.field = "work.ios of " + expected.id,
                       .a = std::to_string(expected.ios),
                       .b = std::to_string(cell->ios)});
  return found;
}

void judge_cells(const Baseline& baseline, const std::vector<CellRecord>& cells,
                 GateOutcome& outcome) {
  for (const CellRecord& expected : baseline.cells) {
    const auto found = std::ranges::find(cells, expected.id, &CellRecord::id);
    if (found == cells.end())
      outcome.inconclusive(formatted("{} is in the baseline and was not measured", expected.id));
    else
      judge_cell(expected, *found, outcome);
  }
  for (const CellRecord& cell : cells)
    if (!std::ranges::contains(baseline.cells, cell.id, &CellRecord::id))
      outcome.new_cells.push_back(cell.id);
}

}  // namespace

Result<GateOutcome> judge_against(const Baseline& baseline, std::span<const Record> records,
                                  const GateOptions& options) {
  if (records.empty()) return bad_input("no record to judge", "name one or more");
  GateOutcome outcome{.kind = GateKind::path_length,
                      .before = {.what = "baseline",
                                 .commit = baseline.accepted.commit,
                                 .at = baseline.accepted.at,
                                 .reason = baseline.accepted.reason},
                      .now = {.what = "records", .commit = records.front().commit()},
                      .rule = default_rule(true)};
  if (options.change) outcome.rule.change = *options.change;
  std::vector<FieldDifference> unlike;
  std::string where;
  for (const Record& record : records) {
    unlike = differences(baseline.fields, gate_fields(record), options.vary);
    if (unlike.empty()) continue;
    where = record.path;
    break;
  }
  const auto cells = pooled_cells(records);
  if (!cells && unlike.empty()) return std::unexpected(cells.error());
  if (cells) {
    std::ranges::copy(other_work(baseline, *cells), std::back_inserter(unlike));
    QueueComparison queues = compare_queues(baseline.cells, *cells, options.vary);
    std::ranges::move(queues.unlike, std::back_inserter(unlike));
    if (!queues.unknown.empty()) outcome.remarks.push_back(unknown_text(queues.unknown));
  }
  if (!unlike.empty()) {
    outcome.not_comparable(where.empty()
                               ? "its cells were not measured as the baseline's were"
                               : where + " was measured in another environment than the baseline",
                           std::move(unlike));
    return outcome;
  }
  judge_cells(baseline, *cells, outcome);
  conclude(outcome, options);
  return outcome;
}

}  // namespace ublkbench::analyzers
