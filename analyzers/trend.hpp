// SPDX-License-Identifier: MIT
// How a figure went through a history, and where it changed its level. Reported, never gated.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzers/change_points.hpp"
#include "analyzers/filter.hpp"
#include "analyzers/history.hpp"
#include "analyzers/judge.hpp"

namespace ublkbench::analyzers {

struct TrendOptions {
  std::optional<Figure> figure;    ///< nothing: total_instructions under icount, else ns_per_io
  Filter filter;                   ///< on cells; "arm" is empty
  std::vector<std::string> vary;   ///< fields that may differ from the latest run's
  std::optional<double> smallest;  ///< changes below it are not told
};

/// A run of a cell.
struct TrendPoint {
  std::size_t run = 0;  ///< in Trend::runs
  std::size_t n = 0;
  double median = 0;
  Interval spread;
};

/// A level that differs from the one before it.
struct TrendChange {
  std::size_t point = 0;   ///< the first of the new level
  std::size_t before = 0;  ///< points of the old level
  std::size_t after = 0;
  double p = 1;
  Judgement judgement;  ///< of the new level against the old one
};

struct TrendCell {
  std::string id;
  Axes axes;
  std::vector<TrendPoint> points;
  std::size_t left_out = 0;  ///< runs whose queue was set otherwise than the latest one's
  std::string left_out_why;  ///< of the last of them, a line a setting
  std::size_t unknown = 0;   ///< runs among `points` that do not say how it was set
  std::vector<TrendChange> changes;
};

struct Trend {
  Figure figure = Figure::ns_per_io;
  double smallest = 0;
  std::vector<HistoryRun> runs;  ///< of one environment, in the order of their start
  std::size_t left_out = 0;      ///< of another one
  std::string left_out_why;      ///< the fields in which the last of those differs
  std::vector<TrendCell> cells;
  std::vector<std::string> remarks;
};

/// Of the history in the file at `path`.
Result<Trend> make_trend(const std::string& path, const TrendOptions& options);

std::string trend_text(const Trend& trend);
/// JSON.
std::string trend_document(const Trend& trend);

}  // namespace ublkbench::analyzers
