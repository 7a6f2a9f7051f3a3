// SPDX-License-Identifier: MIT
#include "analyzers/trend.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "analyzers/queue_settings.hpp"
#include "bench/base/format.hpp"
#include "bench/record/identity.hpp"

namespace ublkbench::analyzers {
namespace {

/// Where a run of the history stands in Trend::runs; nothing: it is left out.
using Places = std::vector<std::optional<std::size_t>>;

/// Those of the latest run's environment; the others would be steps of the machine.
Places choose_runs(Trend& trend, std::vector<HistoryRun>& all, std::span<const std::size_t> order,
                   const TrendOptions& options) {
  const Facts reference = all[order.back()].fields;
  Places places(all.size());
  for (const std::size_t at : order) {
    const auto unlike = differences(reference, all[at].fields, options.vary);
    if (unlike.empty()) {
      places[at] = trend.runs.size();
      trend.runs.push_back(std::move(all[at]));
      continue;
    }
    ++trend.left_out;
    trend.left_out_why.clear();
    for (const FieldDifference& field : unlike)
      trend.left_out_why += (trend.left_out_why.empty() ? "" : ", ") + field.field;
  }
  return places;
}

/// Of a cell's samples, in a run that is shown.
struct Shown {
  std::size_t place = 0;
  const Facts* queue = nullptr;
  const std::vector<double>* values = nullptr;
};

std::vector<Shown> shown_of(const HistoryCell& cell, const Places& places, Figure figure) {
  std::vector<Shown> shown;
  for (const HistoryValues& run : cell.runs)
    if (const auto found = run.values.find(figure); places[run.run] && found != run.values.end())
      shown.push_back({.place = *places[run.run], .queue = run.queue, .values = &found->second});
  std::ranges::sort(shown, {}, &Shown::place);
  return shown;
}

/// Runs whose queue was set otherwise than the latest one's would be steps of the setting.
TrendCell cell_of(const HistoryCell& from, std::span<const Shown> shown,
                  const std::vector<std::string>& vary) {
  TrendCell cell{.id = from.id, .axes = from.axes, .points = {}, .changes = {}};
  const Facts* latest = nullptr;
  for (const Shown& run : shown) latest = run.queue != nullptr ? run.queue : latest;
  for (const Shown& run : shown) {
    const bool differs = run.queue != latest && run.queue != nullptr;
    if (const auto unlike =
            differs ? queue_differences(*latest, *run.queue, vary) : std::vector<FieldDifference>();
        !unlike.empty()) {
      ++cell.left_out;
      cell.left_out_why = to_text(unlike);
      continue;
    }
    cell.unknown += run.queue != nullptr ? 0 : 1;
    cell.points.push_back({.run = run.place,
                           .n = run.values->size(),
                           .median = *median(*run.values),
                           .spread = *range(*run.values)});
  }
  return cell;
}

void tell_of_queues(Trend& trend) {
  std::size_t unknown = 0;
  for (const TrendCell& cell : trend.cells) {
    unknown += cell.unknown;
    if (cell.left_out != 0)
      trend.remarks.push_back(
          formatted("{}: {} run(s) with another queue are left out:\n{}", cell.id, cell.left_out,
                    cell.left_out_why.substr(0, cell.left_out_why.rfind('\n'))));
  }
  if (unknown != 0)
    trend.remarks.push_back(
        formatted("of {} value(s) the history does not say how the queue was set; whether its "
                  "scheduler was the others' is unknown",
                  unknown));
}

std::vector<double> medians(std::span<const TrendPoint> points) {
  std::vector<double> values;
  for (const TrendPoint& point : points) values.push_back(point.median);
  return values;
}

/// On logarithms where they exist, so that a step is a ratio whatever the level.
std::vector<ChangePoint> changes_of(const std::vector<double>& values) {
  if (!std::ranges::all_of(values, [](double v) { return v > 0; })) return change_points(values);
  return change_points(logarithms(values));
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

Result<Trend> make_trend(const std::string& path, const TrendOptions& options) {
  constexpr std::array defaults{Figure::total_instructions, Figure::ns_per_io};
  auto history = read_history(path, options.figure ? std::span(&*options.figure, 1) : defaults);
  if (!history) return std::unexpected(history.error());
  if (history->runs.empty())
    return bad_input("the history has no run", "'ublkbench trend add' adds one");
  std::vector<std::size_t> order(history->runs.size());
  std::ranges::iota(order, 0UZ);
  std::ranges::stable_sort(order, {}, [&](std::size_t at) { return history->runs[at].started; });
  const bool counted = history->runs[order.back()].clock.starts_with("icount");
  Trend trend{
      .figure = options.figure.value_or(counted ? Figure::total_instructions : Figure::ns_per_io),
      // A level of several runs is known better than one run: less than a comparison's threshold.
      .smallest = options.smallest.value_or(counted ? 0.001 : 0.01),
      .remarks = {}};
  if (std::string torn = history->remark(path); !torn.empty()) trend.remarks.push_back(torn);
  const Places places = choose_runs(trend, history->runs, order, options);
  const Rule rule = default_rule(counted);
  for (const HistoryCell& from : history->cells) {
    if (!options.filter.passes(from.axes, "")) continue;
    TrendCell cell = cell_of(from, shown_of(from, places, trend.figure), options.vary);
    if (cell.points.empty()) continue;
    find_changes(cell, traits(trend.figure).better, rule, trend.smallest);
    if (cell.axes.is_control() && !cell.changes.empty())
      trend.remarks.push_back(formatted("THE CONTROL CHANGED: {}; so did the machine", cell.id));
    trend.cells.push_back(std::move(cell));
  }
  tell_of_queues(trend);
  if (trend.cells.empty())
    return bad_input(formatted("no cell that passes has {}", traits(trend.figure).name),
                     "'ublkbench trend show --help' has the figures");
  return trend;
}

}  // namespace ublkbench::analyzers
