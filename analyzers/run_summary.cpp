// SPDX-License-Identifier: MIT
// Medians, ranges and ratios of a run's cells.
#include <algorithm>

#include "analyzers/run_table.hpp"
#include "analyzers/statistics.hpp"

namespace ublkbench::analyzers {
namespace {

/// Also of a percentile that rests on few I/Os: the table says so.
std::optional<Spread> spread_of(const CellRecord& cell, Figure figure) {
  std::vector<double> values;
  for (const SampleFigures& sample : cell.samples)
    if (const auto value = sample.figures.get(figure)) values.push_back(*value);
  const auto middle = median(values);
  if (!middle) return std::nullopt;
  const auto ends = range(values);
  return Spread{.median = *middle, .min = ends->low, .max = ends->high};
}

/// Verification runs once a mode and target.
std::string verified_word(const Record& record, const CellRecord& of) {
  std::string word = "off";
  for (const CellRecord& cell : record.cells) {
    // Somebody else's server has no mode of ours.
    const bool shares = cell.axes.target == of.axes.target &&
                        (cell.axes.mode == of.axes.mode || cell.axes.kind == "external");
    if (!shares || cell.verified.empty()) continue;
    if (cell.verified == "FAILED") return cell.verified;
    if (!cell.verified.starts_with("not") || word == "off") word = cell.verified;
  }
  return word;
}

std::optional<double> iops_ratio(const CellSummary& cell, const CellSummary& base) {
  const auto& above = cell.of(Figure::iops);
  const auto& below = base.of(Figure::iops);
  if (!above || !below || above->median <= 0 || below->median <= 0) return std::nullopt;
  return above->median / below->median;
}

void add_ratios(std::vector<CellSummary>& cells) {
  const auto ratio_to_first_that = [&cells](const CellSummary& cell, const auto& is_base) {
    const auto base = std::ranges::find_if(cells, [&](const CellSummary& other) {
      return same_load(other.cell->axes, cell.cell->axes) && is_base(other.cell->axes);
    });
    return base == cells.end() || base->cell == cell.cell ? std::nullopt : iops_ratio(cell, *base);
  };
  for (CellSummary& cell : cells) {
    const Axes& axes = cell.cell->axes;
    if (axes.is_control()) continue;
    const auto same_target = [&](const Axes& other) {
      return other.kind == axes.kind && other.target == axes.target;
    };
    cell.ratio_to_first = ratio_to_first_that(
        cell, [&](const Axes& other) { return same_target(other) && other.probes == axes.probes; });
    if (!axes.probes.empty())
      cell.ratio_to_bare = ratio_to_first_that(cell, [&](const Axes& other) {
        return same_target(other) && other.mode == axes.mode && other.probes.empty();
      });
    cell.ratio_to_control =
        ratio_to_first_that(cell, [](const Axes& other) { return other.is_control(); });
  }
}

}  // namespace

std::vector<CellSummary> summarize(const Record& record) {
  std::vector<CellSummary> cells;
  for (const CellRecord& cell : record.cells) {
    CellSummary summary{.cell = &cell, .verified = verified_word(record, cell), .figures = {}};
    for (std::size_t at = 0; at < figure_count; ++at)
      summary.figures[at] = spread_of(cell, static_cast<Figure>(at));
    cells.push_back(std::move(summary));
  }
  add_ratios(cells);
  return cells;
}

}  // namespace ublkbench::analyzers
