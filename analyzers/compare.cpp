// SPDX-License-Identifier: MIT
#include "analyzers/compare.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <future>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "analyzers/queue_settings.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::analyzers {
namespace {

std::string label_of(const std::string& path) {
  const std::filesystem::path file(path.ends_with('/') ? path.substr(0, path.size() - 1) : path);
  return file.stem().string();
}

std::string about(const Arm& arm) {
  const Record& record = arm.records.front();
  std::string text =
      formatted("{}: {} record(s), Linux {}, commit {}", arm.label, arm.records.size(),
                fact_word(record.env, "key_fields.kernel.release").value_or(""),
                fact_word(record.run, "tool.commit").value_or("").substr(0, 12));
  if (const std::string* const dirty = fact(record.run, "tool.dirty"); dirty && *dirty == "true")
    text += " with changes";
  return text + ", " + fact_word(record.run, "started").value_or("");
}

/// All records must be of one environment, arms among themselves too; and the cells that they share
/// of queues that were set alike.
void compare_environments(CompareTable& table, const std::vector<Arm>& arms) {
  const Record& first = arms.front().records.front();
  const Facts reference = first.comparable_fields();
  std::vector<std::string> unknown;
  for (const Arm& arm : arms)
    for (const Record& record : arm.records) {
      auto found = differences(reference, record.comparable_fields(), table.options.vary);
      QueueComparison queues = compare_queues(first.cells, record.cells, table.options.vary);
      std::ranges::move(queues.unlike, std::back_inserter(found));
      if (unknown.empty() && &record != &first) unknown = std::move(queues.unknown);
      if (table.unlike.empty()) table.unlike = std::move(found);
    }
  if (!unknown.empty()) table.remarks.push_back(unknown_text(unknown));
}

/// Fields of somebody else's server, mostly: what is not known may differ.
void add_unknowns(const std::vector<Arm>& arms, CompareTable& table) {
  const Facts reference = arms.front().records.front().comparable_fields();
  std::set<std::string> told;
  for (const Arm& arm : arms)
    for (const Record& record : arm.records)
      for (const FieldDifference& field : unknowns(reference, record.comparable_fields()))
        if (told.insert(field.field).second)
          table.remarks.push_back(formatted("{}: {} and {}: whether it differs is not known",
                                            field.field, field.a, field.b));
}

/// Samples of different programs under one label would be an average of both.
Result<> check_one_commit(const Arm& arm) {
  for (const Record& record : arm.records)
    if (record.commit() != arm.records.front().commit())
      return bad_input(formatted("'{}' has records of different commits", arm.label),
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
  axis_named(columns)->clear(axes);
  return {arm, std::move(axes)};
}

std::string name_of_row(const RowKey& key) {
  return key.arm.empty() ? key.axes.name() : key.arm + ' ' + key.axes.name();
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
    if (const Axis* const known = axis_named(axis);
        known != nullptr && axis != "kind" && cell.axes.is_control() && !known->is_load)
      return;
    const RowKey key = key_of(several_arms_ ? arm : "", cell.axes, axis);
    Row& row = row_of(key);
    const std::size_t column = column_of(axis_value(axis, cell.axes, arm));
    if (row.columns.size() <= column) row.columns.resize(column + 1);
    Column& here = row.columns[column];
    here.failed += cell.failed;
    if (const auto word = cell.queue ? fact_word(*cell.queue, "scheduler") : std::nullopt)
      here.schedulers.insert(*word);
    const std::vector<double> values = cell.values(table_.options.figure);
    here.values.insert(here.values.end(), values.begin(), values.end());
    // A sample without its percentile had too few I/Os for it.
    if (values.size() < cell.samples.size() && ios_needed(table_.options.figure) != 0)
      here.too_few_ios = cell.fewest_latencies;
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
      if (at != 0) column.judgement = judge_column(row.columns.front(), column, better);
    }
  }

  [[nodiscard]] Judgement judge_column(const Column& reference, const Column& column,
                                       Better better) const {
    Judgement judgement = judge(reference.values, column.values, better, table_.rule);
    const auto ios = reference.too_few_ios ? reference.too_few_ios : column.too_few_ios;
    if (!ios) return judgement;
    judgement.verdict = Verdict::unmeasurable;
    judgement.why =
        formatted("a sample has {} I/Os, and {} needs {}", *ios, traits(table_.options.figure).name,
                  ios_needed(table_.options.figure));
    return judgement;
  }

  CompareTable& table_;
  bool several_arms_;
  std::map<RowKey, std::size_t> index_;
};

void add_geomeans(CompareTable& table) {
  std::vector<std::vector<double>> medians(table.columns.size());
  std::vector<std::vector<double>> ratios(table.columns.size());
  for (const Row& row : table.rows) {
    // Only rows of which everything enters: a mean of ratios and a mean of medians over other rows
    // would not belong to each other.
    const bool whole = std::ranges::all_of(row.columns, [&](const Column& column) {
      const bool is_reference = &column == &row.columns.front();
      return column.median.has_value() && *column.median > 0 &&
             (is_reference || column.judgement->ratio.has_value());
    });
    if (!whole) continue;
    ++table.geomean_rows;
    for (std::size_t at = 0; at < row.columns.size(); ++at) {
      medians[at].push_back(*row.columns[at].median);
      if (at != 0) ratios[at].push_back(*row.columns[at].judgement->ratio);
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
  for (auto name = table.options.rows.rbegin(); name != table.options.rows.rend(); ++name)
    std::ranges::stable_sort(table.rows, [axis = axis_named(*name)](const Row& a, const Row& b) {
      return axis == nullptr ? a.arm < b.arm : axis->less(a.axes, b.axes);
    });
}

/// Columns of one run, or of runs whose queues may vary.
void remark_schedulers(CompareTable& table, const Row& row) {
  if (table.options.columns == "scheduler") return;  // their names say it
  const auto words = [](const std::set<std::string>& schedulers) {
    std::string text;
    for (const std::string& word : schedulers) text += (text.empty() ? "" : "+") + word;
    return text;
  };
  const std::set<std::string>& reference = row.columns.front().schedulers;
  for (std::size_t at = 1; at < row.columns.size(); ++at) {
    const std::set<std::string>& here = row.columns[at].schedulers;
    if (here.empty() || reference.empty() || here == reference) continue;
    table.remarks.push_back(formatted("{}: I/O scheduler {} in {}, {} in {}", row.name,
                                      words(reference), table.columns.front(), words(here),
                                      table.columns[at]));
  }
}

void add_remarks(CompareTable& table) {
  for (const auto* rows : {&table.rows, &table.controls})
    for (const Row& row : *rows) remark_schedulers(table, row);
  for (const Row& row : table.rows)
    for (std::size_t at = 0; at < row.columns.size(); ++at) {
      const Column& column = row.columns[at];
      if (column.failed != 0)
        table.remarks.push_back(
            formatted("{}: {} sample(s) of {} failed", row.name, column.failed, table.columns[at]));
      if (column.judgement && column.judgement->verdict == Verdict::unmeasurable)
        table.remarks.push_back(formatted("{}: {} is unmeasurable: {}", row.name, table.columns[at],
                                          column.judgement->why));
    }
}

std::unexpected<Error> refused(const std::vector<FieldDifference>& unlike) {
  return std::unexpected(Error{.operation = formatted("not comparable: {} field(s) differ\n{}",
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
      return bad_input(formatted("'{}' is no LABEL=PATH", source.word), "name a record");
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
  compare_environments(table, arms);
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
  add_unknowns(arms, table);
  add_remarks(table);
  return table;
}

}  // namespace ublkbench::analyzers
