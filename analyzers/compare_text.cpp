// SPDX-License-Identifier: MIT
// A comparison as people and programs read it. All forms show the same table.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "analyzers/compare.hpp"
#include "analyzers/text_table.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/units.hpp"
#include "bench/record/axes_json.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;
using Line = std::vector<std::string>;

constexpr const char* absent = "-";

/// "10.5 us +-0.3%": the median, and how far the farther end of the samples is from it.
std::string format_column(const Column& column, Figure figure) {
  if (!column.median) return absent;
  std::string text = print(figure, *column.median);
  // One sample says nothing about how far another would be from it.
  if (column.spread && *column.median > 0 && column.values.size() > 1) {
    const double farthest =
        std::max(column.spread->high - *column.median, *column.median - column.spread->low);
    text += formatted(" +-{:.1f}%", 100 * farthest / *column.median);
  }
  return text;
}

std::string format_interval(const Judgement& judgement) {
  if (!judgement.interval) return absent;
  return formatted("{:.4f}..{:.4f}{}", judgement.interval->low, judgement.interval->high,
                   judgement.interval_kind == "range" ? " r" : "");
}

std::string verdict_word(const CompareTable& table, const Judgement& judgement) {
  if (!table.unlike.empty()) return absent;
  return judgement.verdict == Verdict::unclear ? "~" : std::string(name_of(judgement.verdict));
}

std::vector<TextColumn> columns_of(const CompareTable& table) {
  std::vector<TextColumn> columns{{.title = "cell", .left = true}};
  for (std::size_t at = 0; at < table.columns.size(); ++at) {
    columns.push_back({.title = formatted("{} (n)", table.columns[at])});
    if (at == 0) continue;
    for (const char* title : {"ratio", "interval", "verdict"}) columns.push_back({.title = title});
  }
  return columns;
}

Line line_of(const CompareTable& table, const Row& row) {
  Line line{row.name};
  for (const Column& column : row.columns) {
    line.push_back(column.median ? formatted("{} ({})", format_column(column, table.options.figure),
                                             column.values.size())
                                 : absent);
    if (&column == &row.columns.front()) continue;
    const Judgement& judgement = *column.judgement;
    line.push_back(judgement.ratio ? formatted("{:.4f}", *judgement.ratio) : absent);
    line.push_back(format_interval(judgement));
    line.push_back(verdict_word(table, judgement));
  }
  return line;
}

Line geomean_line(const CompareTable& table) {
  const std::size_t all = table.rows.size();
  Line line{table.geomean_rows == all
                ? formatted("geomean of {} cell(s)", all)
                : formatted("geomean of {} of {} cell(s)", table.geomean_rows, all)};
  for (std::size_t at = 0; at < table.columns.size(); ++at) {
    const auto& value = table.geomeans[at];
    line.push_back(value ? print(table.options.figure, *value) : absent);
    if (at == 0) continue;
    const auto& ratio = table.geomean_ratios[at];
    line.insert(line.end(), {ratio ? formatted("{:.4f}", *ratio) : absent, "", ""});
  }
  return line;
}

TextTable layout(const CompareTable& table) {
  TextTable text{.columns = columns_of(table), .rows = {}};
  for (const Row& row : table.rows) text.rows.push_back(line_of(table, row));
  if (table.geomean_rows > 1) text.rows.push_back(geomean_line(table));
  for (const Row& row : table.controls) text.rows.push_back(line_of(table, row));
  return text;
}

std::string heading(const CompareTable& table) {
  const FigureTraits& figure = traits(table.options.figure);
  const char* const more = figure.better == Better::lower    ? ", lower is better"
                           : figure.better == Better::higher ? ", higher is better"
                                                             : "";
  std::string text;
  for (const std::string& arm : table.about) text += arm + "\n";
  text += formatted("{}: {} ({}){}. Medians, and the sample farthest from each.\n", figure.name,
                    figure.meaning, figure.unit, more);
  if (table.columns.size() > 1)
    text += formatted(
        "Ratios to {}; worse or better: beyond {:.3g} %, and the {:.0f} % interval beyond {:.3g} "
        "%{}. ~: unclear.\n",
        table.columns.front(), 100 * table.rule.change, 100 * table.rule.confidence,
        100 * table.rule.certain,
        table.rule.counted ? " (r: too few samples, their range instead)" : "");
  if (table.rule.counted) text += "Under icount times are instructions executed, not seconds.\n";
  return text;
}

std::string closing(const CompareTable& table) {
  std::string text;
  for (const std::string& remark : table.remarks) text += remark + "\n";
  if (table.control_moved)
    text += formatted("THE CONTROL MOVED: ratio {:.4f}; the machine changed between the runs.\n",
                      *table.control_moved);
  if (!table.unlike.empty())
    text += "NOT COMPARABLE, so without verdicts; these fields differ:\n" + to_text(table.unlike);
  return text;
}

std::string csv_number(const std::optional<double>& value) {
  return value ? formatted("{}", *value) : std::string();
}

json number(const std::optional<double>& value) { return value ? json(*value) : json(); }

json judgement_json(const Judgement& judgement) {
  return {{"ratio", number(judgement.ratio)},
          {"low", judgement.interval ? json(judgement.interval->low) : json()},
          {"high", judgement.interval ? json(judgement.interval->high) : json()},
          {"interval_kind", judgement.interval_kind},
          {"verdict", name_of(judgement.verdict)},
          {"why", judgement.why}};
}

json row_json(const CompareTable& table, const Row& row) {
  json columns = json::array();
  for (std::size_t at = 0; at < row.columns.size(); ++at) {
    const Column& column = row.columns[at];
    json entry = {{"column", table.columns[at]},
                  {"n", column.values.size()},
                  {"failed", column.failed},
                  {"median", number(column.median)},
                  {"values", column.values}};
    if (column.judgement) entry["against_first"] = judgement_json(*column.judgement);
    columns.push_back(std::move(entry));
  }
  json object = row.axes;
  object.update({{"cell", row.name}, {"arm", row.arm}, {"columns", std::move(columns)}});
  return object;
}

}  // namespace

std::string compare_text(const CompareTable& table) {
  return heading(table) + "\n" + layout(table).aligned() + closing(table);
}

std::string compare_markdown(const CompareTable& table) {
  std::string quoted;
  for (const std::string& line : split(heading(table) + closing(table), '\n'))
    if (!line.empty()) quoted += escaped_cell(line) + "\n\n";
  return quoted + layout(table).markdown();
}

std::string compare_csv(const CompareTable& table) {
  std::string text = "cell,arm";
  for (const Axis& axis : all_axes()) text += formatted(",{}", axis.key);
  text += ",figure,column,n,failed,median,ratio,low,high,verdict\n";
  for (const auto* rows : {&table.rows, &table.controls})
    for (const Row& row : *rows)
      for (std::size_t at = 0; at < row.columns.size(); ++at) {
        const Column& column = row.columns[at];
        const Judgement none;
        const Judgement& judged = column.judgement ? *column.judgement : none;
        text += csv_field(row.name) + ',' + csv_field(row.arm);
        for (const Axis& axis : all_axes()) text += ',' + csv_field(axis.raw(row.axes));
        text += formatted(",{},{},{},{},{},{},{},{},{}\n", traits(table.options.figure).name,
                          csv_field(table.columns[at]), column.values.size(), column.failed,
                          csv_number(column.median), csv_number(judged.ratio),
                          judged.interval ? csv_number(judged.interval->low) : "",
                          judged.interval ? csv_number(judged.interval->high) : "",
                          column.judgement && table.unlike.empty() ? name_of(judged.verdict) : "");
      }
  return text;
}

std::string compare_document(const CompareTable& table) {
  json document = {{"schema", "ublkbench.compare/1"},
                   {"figure", traits(table.options.figure).name},
                   {"unit", traits(table.options.figure).unit},
                   {"columns", table.columns},
                   {"arms", table.about},
                   {"rule",
                    {{"change", table.rule.change},
                     {"certain", table.rule.certain},
                     {"confidence", table.rule.confidence},
                     {"counted", table.rule.counted}}},
                   {"comparable", table.unlike.empty()},
                   {"control_moved", number(table.control_moved)},
                   {"remarks", table.remarks}};
  for (const auto& [name, rows] :
       {std::pair{"rows", &table.rows}, std::pair{"controls", &table.controls}}) {
    document[name] = json::array();
    for (const Row& row : *rows) document[name].push_back(row_json(table, row));
  }
  document["geomean_rows"] = table.geomean_rows;
  document["geomean_ratios"] = json::array();
  for (const auto& ratio : table.geomean_ratios)
    document["geomean_ratios"].push_back(number(ratio));
  document["unlike"] = json::array();
  for (const FieldDifference& field : table.unlike)
    document["unlike"].push_back(
        {{"field", field.field}, {"a", field.a}, {"b", field.b}, {"cells", field.where}});
  return json_text(document, 1) + '\n';
}

}  // namespace ublkbench::analyzers
