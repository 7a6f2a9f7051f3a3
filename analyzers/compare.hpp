// SPDX-License-Identifier: MIT
// Two or more runs, or the values of one axis, beside each other: a verdict for each cell.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "analyzers/filter.hpp"
#include "analyzers/judge.hpp"
#include "analyzers/record.hpp"
#include "bench/record/identity.hpp"

namespace ublkbench::analyzers {

/// Records under one label: several boots of one thing count as one arm.
struct Arm {
  std::string label;
  std::vector<Record> records;
};

struct CompareOptions {
  Figure figure = Figure::ns_per_io;
  std::string columns = "arm";    ///< the axis whose first value is the reference
  std::vector<std::string> rows;  ///< axes to sort by, the first one first; empty: as measured
  Filter filter;
  std::vector<std::string> vary;  ///< fields that may differ
  bool anyway = false;            ///< compare unlike environments, without verdicts
  std::optional<double> change;   ///< instead of the default rule's threshold
};

struct Column {
  std::size_t failed = 0;
  std::vector<double> values;
  std::optional<double> median;
  std::optional<Interval> spread;            ///< lowest and highest
  std::optional<Judgement> judgement;        ///< against the reference column
  std::optional<std::uint64_t> too_few_ios;  ///< that a sample has for the figure, a percentile
  std::set<std::string> schedulers;          ///< in force while it was measured, as far as is known
};

struct Row {
  Axes axes;
  std::string arm;  ///< empty where arms are the columns
  std::string name;
  std::vector<Column> columns;
};

struct CompareTable {
  CompareOptions options;
  Rule rule;
  std::vector<std::string> columns;  ///< their titles
  std::vector<std::string> about;    ///< what each arm is: commit, kernel, date
  std::vector<Row> rows;             ///< without the controls
  std::vector<Row> controls;
  std::vector<std::optional<double>> geomeans;        ///< of medians, over rows that enter
  std::vector<std::optional<double>> geomean_ratios;  ///< of ratios to the reference
  std::size_t geomean_rows = 0;         ///< of `rows`: those with a positive median in every column
  std::optional<double> control_moved;  ///< the farthest ratio of a control, if beyond the limit
  std::vector<FieldDifference> unlike;  ///< with `anyway` only
  std::vector<std::string> remarks;
};

/// "label=path", or a path, whose label is its file's name; arms in the order of their first
/// record.
Result<std::vector<Arm>> read_arms(const std::vector<std::string>& words);

/// ExitCode::not_comparable, with a line for each field, where environments differ.
Result<CompareTable> compare(const std::vector<Arm>& arms, const CompareOptions& options);

/// How far a control may move before the machine is held to have changed.
double control_limit(bool counted);

std::string compare_text(const CompareTable& table);
std::string compare_markdown(const CompareTable& table);
std::string compare_csv(const CompareTable& table);
/// JSON.
std::string compare_document(const CompareTable& table);

}  // namespace ublkbench::analyzers
