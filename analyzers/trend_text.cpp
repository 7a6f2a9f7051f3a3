// SPDX-License-Identifier: MIT
// A trend as people and programs read it.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "analyzers/trend.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;

/// Runs of which a value is shown.
std::set<std::size_t> shown_runs(const Trend& trend) {
  std::set<std::size_t> shown;
  for (const TrendCell& cell : trend.cells)
    for (const TrendPoint& point : cell.points) shown.insert(point.run);
  return shown;
}

std::string heading(const Trend& trend) {
  const FigureTraits& figure = traits(trend.figure);
  const std::set<std::size_t> shown = shown_runs(trend);
  const std::size_t all = trend.runs.size();
  std::string text = formatted(
      "{} run(s), {} to {}\n",
      shown.size() == all ? std::to_string(all) : formatted("{} of {}", shown.size(), all),
      trend.runs[*shown.begin()].started, trend.runs[*shown.rbegin()].started);
  if (trend.left_out != 0)
    text +=
        formatted("{} run(s) of another environment are left out ({}); --vary takes fields in\n",
                  trend.left_out, trend.left_out_why);
  text +=
      formatted("{}: {} ({}), the median of each run\n", figure.name, figure.meaning, figure.unit);
  return text;
}

std::string commit_of(const HistoryRun& run) {
  return run.commit.substr(0, 12) + (run.dirty ? "+changes" : "");
}

std::string cell_line(const TrendCell& cell, std::size_t width) {
  const auto [low, high] = std::ranges::minmax(cell.points, {}, &TrendPoint::median);
  return formatted("{:<{}}  {:>4}  {:>10.6g}  {:>10.6g}  {:>10.6g}..{:<10.6g}  {:>7}\n", cell.id,
                   width, cell.points.size(), cell.points.front().median, cell.points.back().median,
                   low.median, high.median, cell.changes.size());
}

std::string change_line(const Trend& trend, const TrendCell& cell, const TrendChange& change) {
  const HistoryRun& run = trend.runs[cell.points[change.point].run];
  const Judgement& judged = change.judgement;
  std::string text = formatted("{}  {}  {}: ", run.started, commit_of(run), cell.id);
  if (judged.ratio) text += formatted("{:+.2f} %", 100 * (*judged.ratio - 1));
  if (judged.interval)
    text += formatted(" ({:+.2f} to {:+.2f})", 100 * (judged.interval->low - 1),
                      100 * (judged.interval->high - 1));
  return text + formatted(", {} run(s) before and {} since, p {:.4f}\n", change.before,
                          change.after, change.p);
}

double size_of(const TrendChange& change) {
  return change.judgement.ratio ? std::abs(std::log(*change.judgement.ratio)) : 0;
}

json change_json(const TrendChange& change) {
  const Judgement& judged = change.judgement;
  return {{"point", change.point},
          {"before", change.before},
          {"after", change.after},
          {"p", change.p},
          {"ratio", judged.ratio ? json(*judged.ratio) : json()},
          {"low", judged.interval ? json(judged.interval->low) : json()},
          {"high", judged.interval ? json(judged.interval->high) : json()},
          {"verdict", name_of(judged.verdict)}};
}

json cell_json(const TrendCell& cell) {
  json points = json::array();
  for (const TrendPoint& point : cell.points)
    points.push_back({{"run", point.run},
                      {"n", point.n},
                      {"median", point.median},
                      {"low", point.spread.low},
                      {"high", point.spread.high}});
  json changes = json::array();
  for (const TrendChange& change : cell.changes) changes.push_back(change_json(change));
  return {{"cell", cell.id},
          {"kind", cell.axes.kind},
          {"left_out", cell.left_out},
          {"queue_unknown", cell.unknown},
          {"points", std::move(points)},
          {"changes", std::move(changes)}};
}

}  // namespace

std::string trend_text(const Trend& trend) {
  std::string text = heading(trend) + "\n";
  std::size_t width = 4;
  for (const TrendCell& cell : trend.cells) width = std::max(width, cell.id.size());
  text += formatted("{:<{}}  {:>4}  {:>10}  {:>10}  {:>22}  {:>7}\n", "cell", width, "runs",
                    "first", "latest", "lowest..highest   ", "changes");
  std::vector<std::pair<const TrendCell*, const TrendChange*>> changes;
  for (const TrendCell& cell : trend.cells) {
    text += cell_line(cell, width);
    for (const TrendChange& change : cell.changes) changes.emplace_back(&cell, &change);
  }
  std::ranges::stable_sort(changes, [](const auto& a, const auto& b) {
    return size_of(*a.second) > size_of(*b.second);
  });
  text += formatted(
      "\nChanges of level by {:.3g} % or more (E-divisive, p at most {}; reported, not gated):\n",
      100 * trend.smallest, change_p_max);
  if (changes.empty()) text += "none\n";
  for (const auto& [cell, change] : changes) text += change_line(trend, *cell, *change);
  for (const std::string& remark : trend.remarks) text += remark + "\n";
  return text;
}

std::string trend_document(const Trend& trend) {
  json runs = json::array();
  for (const HistoryRun& run : trend.runs)
    runs.push_back(
        {{"id", run.id}, {"started", run.started}, {"commit", run.commit}, {"dirty", run.dirty}});
  json cells = json::array();
  for (const TrendCell& cell : trend.cells) cells.push_back(cell_json(cell));
  const json document = {{"schema", "ublkbench.trend/1"},
                         {"figure", traits(trend.figure).name},
                         {"unit", traits(trend.figure).unit},
                         {"smallest_change", trend.smallest},
                         {"p_max", change_p_max},
                         {"runs", std::move(runs)},
                         {"left_out", trend.left_out},
                         {"left_out_why", trend.left_out_why},
                         {"cells", std::move(cells)},
                         {"remarks", trend.remarks}};
  return json_text(document, 1) + '\n';
}

}  // namespace ublkbench::analyzers
