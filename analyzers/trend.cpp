// SPDX-License-Identifier: MIT
#include "analyzers/trend.hpp"

#include <algorithm>
#include <cmath>
#include <format>
#include <unordered_map>

#include "analyzers/environment_diff.hpp"

namespace ublkbench::analyzers {
namespace {

/// Those of the latest run's environment; the others would be steps of the machine.
void choose_runs(Trend& trend, std::vector<IndexedRun> all, const TrendOptions& options) {
  const nlohmann::json reference = all.back().fields;
  for (IndexedRun& run : all) {
    const auto unlike = differences(reference, run.fields, options.vary);
    if (unlike.empty()) {
      trend.runs.push_back(std::move(run));
      continue;
    }
    ++trend.left_out;
    trend.left_out_why.clear();
    for (const FieldDifference& field : unlike)
      trend.left_out_why += (trend.left_out_why.empty() ? "" : ", ") + field.field;
  }
}

TrendCell cell_of(const IndexedCell& indexed,
                  const std::unordered_map<std::int64_t, std::size_t>& places) {
  TrendCell cell{.id = indexed.id, .axes = indexed.axes, .points = {}, .changes = {}};
  for (const IndexedValues& run : indexed.runs)
    if (const auto place = places.find(run.run); place != places.end())
      cell.points.push_back({.run = place->second,
                             .n = run.values.size(),
                             .median = *median(run.values),
                             .spread = *range(run.values)});
  std::ranges::sort(cell.points, {}, &TrendPoint::run);
  return cell;
}

std::vector<double> medians(std::span<const TrendPoint> points) {
  std::vector<double> values;
  for (const TrendPoint& point : points) values.push_back(point.median);
  return values;
}

/// On logarithms where they exist, so that a step is a ratio whatever the level.
std::vector<ChangePoint> changes_of(const std::vector<double>& values) {
  if (!std::ranges::all_of(values, [](double v) { return v > 0; })) return change_points(values);
  std::vector<double> logs;
  for (const double value : values) logs.push_back(std::log(value));
  return change_points(logs);
}

void find_changes(TrendCell& cell, Better better, const Rule& rule, double smallest) {
  const std::vector<double> values = medians(cell.points);
  const std::vector<ChangePoint> found = changes_of(values);
  for (std::size_t at = 0; at < found.size(); ++at) {
    const std::size_t begin = at == 0 ? 0 : found[at - 1].at;
    const std::size_t end = at + 1 == found.size() ? values.size() : found[at + 1].at;
    const std::span all(values);
    const std::span before = all.subspan(begin, found[at].at - begin);
    const std::span after = all.subspan(found[at].at, end - found[at].at);
    TrendChange change{.point = found[at].at,
                       .before = before.size(),
                       .after = after.size(),
                       .p = found[at].p,
                       .judgement = judge(before, after, better, rule)};
    const auto& ratio = change.judgement.ratio;
    if (ratio && std::abs(std::log(*ratio)) < std::log1p(smallest)) continue;
    cell.changes.push_back(std::move(change));
  }
}

}  // namespace

Result<Trend> make_trend(const HistoryIndex& index, const TrendOptions& options) {
  auto runs = index.runs();
  if (!runs) return std::unexpected(runs.error());
  if (runs->empty()) return bad_input("the history has no run", "'ublkbench trend add' adds one");
  const bool counted = runs->back().clock.starts_with("icount");
  Trend trend{
      .figure = options.figure.value_or(counted ? Figure::total_instructions : Figure::ns_per_io),
      // A level of several runs is known better than one run: less than a comparison's threshold.
      .smallest = options.smallest.value_or(counted ? 0.001 : 0.01),
      .remarks = index.remarks()};
  choose_runs(trend, std::move(*runs), options);
  std::unordered_map<std::int64_t, std::size_t> places;
  for (std::size_t at = 0; at < trend.runs.size(); ++at) places[trend.runs[at].row] = at;
  const auto cells = index.cells(trend.figure);
  if (!cells) return std::unexpected(cells.error());
  const Rule rule = default_rule(counted);
  for (const IndexedCell& indexed : *cells) {
    if (!options.filter.passes(indexed.axes, "")) continue;
    TrendCell cell = cell_of(indexed, places);
    if (cell.points.empty()) continue;
    find_changes(cell, traits(trend.figure).better, rule, trend.smallest);
    if (cell.axes.is_control() && !cell.changes.empty())
      trend.remarks.push_back(std::format("THE CONTROL CHANGED: {}; so did the machine", cell.id));
    trend.cells.push_back(std::move(cell));
  }
  if (trend.cells.empty())
    return bad_input(std::format("no cell that passes has {}", traits(trend.figure).name),
                     "'ublkbench trend show --help' has the figures");
  return trend;
}

}  // namespace ublkbench::analyzers
