// SPDX-License-Identifier: MIT
// A comparison as people and programs read it. All forms show the same table.
#include <algorithm>
#include <cmath>
#include <format>
#include <nlohmann/json.hpp>

#include "analyzers/compare.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;
using Line = std::vector<std::string>;

constexpr const char* absent = "-";

std::string format_value(double value, Figure figure) {
  const std::string_view unit = traits(figure).unit;
  if (unit == "IOPS") return format_count(value);
  if (unit == "ns" || unit == "ns/IO") return format_ns(value);
  if (unit == "ins/IO") return std::format("{:.0f}", value);
  return std::format("{:.2f}", value);
}

/// "10.5 us +-0.3%": the median, and how far the farther end of the samples is from it.
std::string format_column(const Column& column, Figure figure) {
  if (!column.median) return absent;
  std::string text = format_value(*column.median, figure);
  if (column.spread && *column.median > 0) {
    const double farthest =
        std::max(column.spread->high - *column.median, *column.median - column.spread->low);
    text += std::format(" +-{:.1f}%", 100 * farthest / *column.median);
  }
  return text;
}

std::string format_interval(const Judgement& judgement) {
  if (!judgement.interval) return absent;
  return std::format("{:.4f}..{:.4f}{}", judgement.interval->low, judgement.interval->high,
                     judgement.interval_kind == "range" ? " r" : "");
}

std::string verdict_word(const CompareTable& table, const Judgement& judgement) {
  if (!table.unlike.empty()) return absent;
  return judgement.verdict == Verdict::unclear ? "~" : std::string(name_of(judgement.verdict));
}

Line titles_of(const CompareTable& table) {
  Line line{"cell"};
  for (std::size_t at = 0; at < table.columns.size(); ++at) {
    line.push_back(std::format("{} (n)", table.columns[at]));
    if (at != 0) line.insert(line.end(), {"ratio", "interval", "verdict"});
  }
  return line;
}

Line line_of(const CompareTable& table, const Row& row) {
  Line line{row.name};
  for (const Column& column : row.columns) {
    line.push_back(column.median
                       ? std::format("{} ({})", format_column(column, table.options.figure),
                                     column.values.size())
                       : absent);
    if (&column == &row.columns.front()) continue;
    const Judgement& judgement = *column.judgement;
    line.push_back(judgement.ratio ? std::format("{:.4f}", *judgement.ratio) : absent);
    line.push_back(format_interval(judgement));
    line.push_back(verdict_word(table, judgement));
  }
  return line;
}

Line geomean_line(const CompareTable& table) {
  Line line{std::format("geomean of {} cell(s)", table.geomean_rows)};
  for (std::size_t at = 0; at < table.columns.size(); ++at) {
    const auto& value = table.geomeans[at];
    line.push_back(value ? format_value(*value, table.options.figure) : absent);
    if (at == 0) continue;
    const auto& ratio = table.geomean_ratios[at];
    line.insert(line.end(), {ratio ? std::format("{:.4f}", *ratio) : absent, "", ""});
  }
  return line;
}

std::vector<Line> lines_of(const CompareTable& table) {
  std::vector<Line> lines{titles_of(table)};
  for (const Row& row : table.rows) lines.push_back(line_of(table, row));
  if (table.geomean_rows > 1) lines.push_back(geomean_line(table));
  for (const Row& row : table.controls) lines.push_back(line_of(table, row));
  return lines;
}

std::string heading(const CompareTable& table) {
  const FigureTraits& figure = traits(table.options.figure);
  const char* const more = figure.better == Better::lower    ? ", lower is better"
                           : figure.better == Better::higher ? ", higher is better"
                                                             : "";
  std::string text;
  for (const std::string& arm : table.about) text += arm + "\n";
  text += std::format("{}: {} ({}){}. Medians, and the sample farthest from each.\n", figure.name,
                      figure.meaning, figure.unit, more);
  if (table.columns.size() > 1)
    text += std::format(
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
    text += std::format("THE CONTROL MOVED: ratio {:.4f}; the machine changed between the runs.\n",
                        *table.control_moved);
  if (!table.unlike.empty())
    text += "NOT COMPARABLE, so without verdicts; these fields differ:\n" + to_text(table.unlike);
  return text;
}

std::string escaped_cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.insert(at, 1, '\\');
  return text;
}

std::string csv_number(const std::optional<double>& value) {
  return value ? std::format("{}", *value) : std::string();
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
  const std::vector<Line> lines = lines_of(table);
  std::vector<std::size_t> widths(lines.front().size());
  for (const Line& line : lines)
    for (std::size_t at = 0; at < line.size(); ++at)
      widths[at] = std::max(widths[at], line[at].size());
  std::string text = heading(table) + "\n";
  for (const Line& line : lines) {
    std::string padded;
    for (std::size_t at = 0; at < line.size(); ++at)
      padded += at == 0 ? std::format("{:<{}}", line[at], widths[at])
                        : std::format("  {:>{}}", line[at], widths[at]);
    padded.erase(padded.find_last_not_of(' ') + 1);
    text += padded + "\n";
  }
  return text + closing(table);
}

std::string compare_markdown(const CompareTable& table) {
  std::string text;
  const auto add = [&text](const Line& line) {
    for (const std::string& field : line) text += "| " + escaped_cell(field) + ' ';
    text += "|\n";
  };
  const std::vector<Line> lines = lines_of(table);
  add(lines.front());
  for (std::size_t at = 0; at < lines.front().size(); ++at) text += at == 0 ? "|:--" : "|--:";
  text += "|\n";
  std::for_each(lines.begin() + 1, lines.end(), add);
  std::string notes = heading(table) + closing(table);
  std::string quoted;
  for (const std::string& line : split(notes, '\n'))
    if (!line.empty()) quoted += escaped_cell(line) + "\n\n";
  return quoted + text;
}

std::string compare_csv(const CompareTable& table) {
  std::string text =
      "cell,arm,kind,mode,target,depth,block_bytes,pattern,figure,column,n,failed,median,ratio,low,"
      "high,verdict\n";
  for (const auto* rows : {&table.rows, &table.controls})
    for (const Row& row : *rows)
      for (std::size_t at = 0; at < row.columns.size(); ++at) {
        const Column& column = row.columns[at];
        const Judgement none;
        const Judgement& judged = column.judgement ? *column.judgement : none;
        text += std::format(
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_field(row.name),
            csv_field(row.arm), row.axes.kind, csv_field(row.axes.mode), csv_field(row.axes.target),
            row.axes.depth, row.axes.block_bytes, row.axes.pattern,
            traits(table.options.figure).name, csv_field(table.columns[at]), column.values.size(),
            column.failed, csv_number(column.median), csv_number(judged.ratio),
            judged.interval ? csv_number(judged.interval->low) : "",
            judged.interval ? csv_number(judged.interval->high) : "",
            column.judgement && table.unlike.empty() ? name_of(judged.verdict) : "");
      }
  return text;
}

json compare_json(const CompareTable& table) {
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
  document["geomean_ratios"] = json::array();
  for (const auto& ratio : table.geomean_ratios)
    document["geomean_ratios"].push_back(number(ratio));
  document["unlike"] = json::array();
  for (const FieldDifference& field : table.unlike)
    document["unlike"].push_back({{"field", field.field}, {"a", field.a}, {"b", field.b}});
  return document;
}

}  // namespace ublkbench::analyzers
