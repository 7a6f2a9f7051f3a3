// SPDX-License-Identifier: MIT
#include "analyzers/compare.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <format>
#include <future>
#include <map>
#include <utility>

#include "bench/base/units.hpp"

namespace ublkbench::analyzers {
namespace {

std::string label_of(const std::string& path) {
  const std::filesystem::path file(path.ends_with('/') ? path.substr(0, path.size() - 1) : path);
  return file.stem().string();
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string about(const Arm& arm) {
  const Record& record = arm.records.front();
  const nlohmann::json none = nlohmann::json::object();
  const nlohmann::json& tool = record.run["tool"];
  const nlohmann::json kernel = record.env["key_fields"].value("kernel", none);
  std::string text =
      std::format("{}: {} record(s), Linux {}, commit {}", arm.label, arm.records.size(),
                  text_of(kernel, "release"), text_of(tool, "commit").substr(0, 12));
  if (tool.value("dirty", nlohmann::json()) == true) text += " with changes";
  return text + ", " + text_of(record.run, "started");
}

/// All records must be of one environment, arms among themselves too.
std::vector<FieldDifference> unlike_fields(const std::vector<Arm>& arms,
                                           const std::vector<std::string>& vary) {
  const nlohmann::json reference = arms.front().records.front().comparable_fields();
  for (const Arm& arm : arms)
    for (const Record& record : arm.records)
      if (auto found = differences(reference, record.comparable_fields(), vary); !found.empty())
        return found;
  return {};
}

/// Samples of different programs under one label would be an average of both.
Result<> check_one_commit(const Arm& arm) {
  for (const Record& record : arm.records)
    if (record.run["tool"].value("commit", "") !=
        arm.records.front().run["tool"].value("commit", ""))
      return bad_input(std::format("'{}' has records of different commits", arm.label),
                       "give them different labels");
  return {};
}

/// A word of the command line: a record, and the arm that it belongs to.
struct Source {
  std::string word;
  std::string path;
  std::string label;
  bool labelled = false;
};

Source parse_source(const std::string& word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string::npos || std::filesystem::exists(word))
    return {.word = word, .path = word, .label = label_of(word)};
  return {.word = word,
          .path = word.substr(equals + 1),
          .label = word.substr(0, equals),
          .labelled = true};
}

struct RowKey {
  std::string arm;
  Axes axes;
  auto operator<=>(const RowKey&) const = default;
};

/// The same for all columns of a row: the axis of the columns is left blank.
RowKey key_of(const std::string& arm, Axes axes, const std::string& columns) {
  if (columns == "arm") return {"", std::move(axes)};
  if (columns == "kind") axes.kind.clear();
  if (columns == "mode") axes.mode.clear();
  if (columns == "target") axes.target.clear();
  if (columns == "qd") axes.depth = 0;
  if (columns == "bs") axes.block_bytes = 0;
  if (columns == "rw") axes.pattern.clear();
  return {arm, std::move(axes)};
}

std::string name_of_row(const RowKey& key) {
  std::string name;
  const auto add = [&name](const std::string& part) { name += (name.empty() ? "" : " ") + part; };
  if (!key.arm.empty()) add(key.arm);
  if (!key.axes.mode.empty()) add(key.axes.mode);
  if (!key.axes.target.empty() && !key.axes.is_control()) add(key.axes.target);
  if (key.axes.depth != 0) add(std::format("qd={}", key.axes.depth));
  if (key.axes.block_bytes != 0) add("bs=" + format_size(key.axes.block_bytes));
  if (!key.axes.pattern.empty()) add(key.axes.pattern);
  return name;
}

class Builder {
 public:
  Builder(CompareTable& table, bool several_arms) : table_(table), several_arms_(several_arms) {}

  void add(const Arm& arm) {
    for (const Record& record : arm.records)
      for (const CellRecord& cell : record.cells)
        if (table_.options.filter.passes(cell.axes, arm.label)) add(arm.label, cell);
  }

  void finish() {
    for (auto* rows : {&table_.rows, &table_.controls})
      for (Row& row : *rows) {
        row.columns.resize(table_.columns.size());
        judge_row(row);
      }
  }

 private:
  void add(const std::string& arm, const CellRecord& cell) {
    const std::string& axis = table_.options.columns;
    // Against another axis than the arm a control is only one more row that has no columns.
    if (axis != "arm" && axis != "kind" && cell.axes.is_control() && axis != "qd" && axis != "bs")
      return;
    const RowKey key = key_of(several_arms_ ? arm : "", cell.axes, axis);
    Row& row = row_of(key);
    const std::size_t column = column_of(axis_value(axis, cell.axes, arm));
    if (row.columns.size() <= column) row.columns.resize(column + 1);
    Column& here = row.columns[column];
    here.failed += cell.failed;
    const std::vector<double> values = cell.values(table_.options.figure);
    here.values.insert(here.values.end(), values.begin(), values.end());
  }

  Row& row_of(const RowKey& key) {
    auto& rows = key.axes.is_control() ? table_.controls : table_.rows;
    const auto [found, is_new] = index_.try_emplace(key, rows.size());
    if (is_new)
      rows.push_back({.axes = key.axes, .arm = key.arm, .name = name_of_row(key), .columns = {}});
    return rows[found->second];
  }

  std::size_t column_of(const std::string& title) {
    const auto found = std::ranges::find(table_.columns, title);
    const auto at = static_cast<std::size_t>(found - table_.columns.begin());
    if (found == table_.columns.end()) table_.columns.push_back(title);
    return at;
  }

  void judge_row(Row& row) const {
    const Better better = traits(table_.options.figure).better;
    for (std::size_t at = 0; at < row.columns.size(); ++at) {
      Column& column = row.columns[at];
      column.median = median(column.values);
      column.spread = range(column.values);
      if (at != 0)
        column.judgement = judge(row.columns.front().values, column.values, better, table_.rule);
    }
  }

  CompareTable& table_;
  bool several_arms_;
  std::map<RowKey, std::size_t> index_;
};

void add_geomeans(CompareTable& table) {
  std::vector<std::vector<double>> medians(table.columns.size());
  std::vector<std::vector<double>> ratios(table.columns.size());
  for (const Row& row : table.rows) {
    const bool whole = std::ranges::all_of(row.columns, [](const Column& column) {
      return column.median.has_value() && *column.median > 0;
    });
    if (!whole) continue;
    ++table.geomean_rows;
    for (std::size_t at = 0; at < row.columns.size(); ++at) {
      medians[at].push_back(*row.columns[at].median);
      const auto& judgement = row.columns[at].judgement;
      if (judgement && judgement->ratio) ratios[at].push_back(*judgement->ratio);
    }
  }
  for (std::size_t at = 0; at < table.columns.size(); ++at) {
    table.geomeans.push_back(geometric_mean(medians[at]));
    table.geomean_ratios.push_back(geometric_mean(ratios[at]));
  }
}

void check_controls(CompareTable& table) {
  if (table.options.columns != "arm") return;
  const double limit = control_limit(table.rule.counted);
  for (const Row& row : table.controls)
    for (const Column& column : row.columns) {
      if (!column.judgement || !column.judgement->ratio) continue;
      const double ratio = *column.judgement->ratio;
      if (std::abs(std::log(ratio)) <= std::log1p(limit)) continue;
      if (!table.control_moved ||
          std::abs(std::log(ratio)) > std::abs(std::log(*table.control_moved)))
        table.control_moved = ratio;
    }
}

void sort_rows(CompareTable& table) {
  const auto number = [](const Row& row, const std::string& axis) {
    return axis == "qd" ? row.axes.depth : axis == "bs" ? row.axes.block_bytes : 0;
  };
  for (auto axis = table.options.rows.rbegin(); axis != table.options.rows.rend(); ++axis)
    std::ranges::stable_sort(table.rows, [&](const Row& a, const Row& b) {
      if (*axis == "qd" || *axis == "bs") return number(a, *axis) < number(b, *axis);
      return axis_value(*axis, a.axes, a.arm) < axis_value(*axis, b.axes, b.arm);
    });
}

void add_remarks(CompareTable& table) {
  for (const Row& row : table.rows)
    for (std::size_t at = 0; at < row.columns.size(); ++at) {
      const Column& column = row.columns[at];
      if (column.failed != 0)
        table.remarks.push_back(std::format("{}: {} sample(s) of {} failed", row.name,
                                            column.failed, table.columns[at]));
      if (column.judgement && column.judgement->verdict == Verdict::unmeasurable)
        table.remarks.push_back(std::format("{}: {} is unmeasurable: {}", row.name,
                                            table.columns[at], column.judgement->why));
    }
}

std::unexpected<Error> refused(const std::vector<FieldDifference>& unlike) {
  return std::unexpected(Error{.operation = std::format("not comparable: {} field(s) differ\n{}",
                                                        unlike.size(), to_text(unlike)),
                               .object = {},
                               .errnum = 0,
                               .hint = {},
                               .exit = ExitCode::not_comparable});
}

}  // namespace

double control_limit(bool counted) { return counted ? 0.01 : 0.03; }

Result<std::vector<Arm>> read_arms(const std::vector<std::string>& words) {
  std::vector<Source> sources;
  for (const std::string& word : words) sources.push_back(parse_source(word));
  for (const Source& source : sources)
    if (source.label.empty() || source.path.empty())
      return bad_input(std::format("'{}' is no LABEL=PATH", source.word), "name a record");
  // Nearly all of a comparison's time goes into reading, and records do not depend on each other.
  std::vector<std::future<Result<Record>>> reading;
  for (const Source& source : sources)
    reading.push_back(std::async(std::launch::async, read_record, source.path, Detail::figures));
  std::vector<Arm> arms;
  for (std::size_t at = 0; at < sources.size(); ++at) {
    std::string label = sources[at].label;
    // Only a label that was given twice means that two records belong together.
    if (!sources[at].labelled && std::ranges::contains(arms, label, &Arm::label))
      label = sources[at].path;
    auto record = reading[at].get();
    if (!record) return std::unexpected(record.error());
    auto arm = std::ranges::find(arms, label, &Arm::label);
    if (arm == arms.end()) arm = arms.insert(arms.end(), {.label = label, .records = {}});
    arm->records.push_back(std::move(*record));
    if (auto same = check_one_commit(*arm); !same) return std::unexpected(same.error());
  }
  if (arms.empty()) return bad_input("no record to compare", "name one or more");
  return arms;
}

Result<CompareTable> compare(const std::vector<Arm>& arms, const CompareOptions& options) {
  CompareTable table;
  table.options = options;
  table.rule = default_rule(std::ranges::all_of(
      arms, [](const Arm& arm) { return arm.records.front().counts_instructions(); }));
  if (options.change) {
    table.rule.change = *options.change;
    table.rule.widest = std::max(table.rule.widest, *options.change);
  }
  table.unlike = unlike_fields(arms, options.vary);
  if (!table.unlike.empty() && !options.anyway) return refused(table.unlike);
  Builder builder(table, options.columns != "arm" && arms.size() > 1);
  for (const Arm& arm : arms) {
    table.about.push_back(about(arm));
    builder.add(arm);
  }
  if (table.rows.empty() && table.controls.empty())
    return bad_input("no cell passes the filter", "'ublkbench compare --help' has the axes");
  builder.finish();
  sort_rows(table);
  add_geomeans(table);
  check_controls(table);
  add_remarks(table);
  return table;
}

}  // namespace ublkbench::analyzers
