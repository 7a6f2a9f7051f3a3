// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <format>
#include <functional>
#include <nlohmann/json.hpp>

#include "bench/base/units.hpp"
#include "bench/suite/summary.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;
using Row = std::vector<std::string>;

struct Column {
  std::string title;
  bool left = false;
  std::function<std::string(const CellSummary&)> value;
};

struct Table {
  std::vector<Column> columns;
  std::vector<std::string> same;  // what all rows share, "target null"
};

constexpr const char* absent = "-";

std::function<std::string(const CellSummary&)> figure(std::string name,
                                                      std::function<std::string(double)> format) {
  return [name = std::move(name), format = std::move(format)](const CellSummary& cell) {
    const auto found = cell.figures.find(name);
    return found == cell.figures.end() ? std::string(absent) : format(found->second.median);
  };
}

std::string range(const CellSummary& cell) {
  const auto found = cell.figures.find("iops");
  if (found == cell.figures.end()) return absent;
  return std::format("{}..{}", format_count(found->second.min), format_count(found->second.max));
}

std::function<std::string(const CellSummary&)> ratio(std::optional<double> CellSummary::* field) {
  return [field](const CellSummary& cell) {
    return cell.*field ? std::format("{:.2f}", *(cell.*field)) : std::string(absent);
  };
}

/// Samples that count, with the failed ones beside them.
std::string samples_of(const CellSummary& cell) {
  return cell.failed == 0 ? std::format("{}", cell.good)
                          : std::format("{} ({} failed)", cell.good, cell.failed);
}

/// A column where the rows differ, else a remark above the table.
void add_axis(Table& table, const std::vector<CellSummary>& cells, const std::string& title,
              bool left, const std::function<std::string(const CellSummary&)>& value) {
  const auto first = std::ranges::find_if(cells, [](const auto& c) { return c.kind != "control"; });
  const bool varies = std::ranges::any_of(cells, [&](const CellSummary& cell) {
    return cell.kind != "control" && value(cell) != value(*first);
  });
  if (varies)
    table.columns.push_back({title, left, value});
  else
    table.same.push_back(title + ' ' + value(*first));
}

void add_figure(Table& table, const std::vector<CellSummary>& cells, const std::string& title,
                const std::string& name, std::function<std::string(double)> format) {
  if (std::ranges::any_of(cells, [&](const CellSummary& c) { return c.figures.contains(name); }))
    table.columns.push_back({title, false, figure(name, std::move(format))});
}

Table layout(const std::vector<CellSummary>& cells) {
  Table table;
  const auto whole = [](double value) { return std::format("{:.0f}", value); };
  const auto fine = [](double value) { return std::format("{:.2f}", value); };
  const auto size = [](double value) { return std::format("{:.1f}", value); };
  table.columns.push_back({"mode", true, [](const CellSummary& c) { return c.mode; }});
  add_axis(table, cells, "target", true,
           [](const CellSummary& c) { return c.kind == "control" ? absent : c.target; });
  add_axis(table, cells, "rw", true, [](const CellSummary& c) { return c.pattern; });
  add_axis(table, cells, "bs", false,
           [](const CellSummary& c) { return format_size(c.block_bytes); });
  add_axis(table, cells, "qd", false, [](const CellSummary& c) { return std::to_string(c.depth); });
  if (std::ranges::any_of(cells, [](const auto& c) { return !c.probes.empty(); }))
    table.columns.push_back({"probes", true, [](const CellSummary& c) {
                               return c.probes.empty() ? std::string(absent) : c.probes;
                             }});
  table.columns.push_back({"n", false, samples_of});
  table.columns.push_back({"IOPS", false, figure("iops", format_count)});
  table.columns.push_back({"min..max", false, range});
  add_figure(table, cells, "p50", "p50_ns", format_ns);
  add_figure(table, cells, "p99", "p99_ns", format_ns);
  add_figure(table, cells, "p99.9", "p999_ns", format_ns);
  add_figure(table, cells, "srv-ns/IO", "server_cpu_ns", whole);
  add_figure(table, cells, "load-ns/IO", "load_cpu_ns", whole);
  add_figure(table, cells, "srv-ins/IO", "server_instructions", whole);
  add_figure(table, cells, "load-ins/IO", "load_instructions", whole);
  add_figure(table, cells, "all-ins/IO", "total_instructions", whole);
  add_figure(table, cells, "fetch", "fetch_batch", size);
  add_figure(table, cells, "commit", "commit_batch", size);
  add_figure(table, cells, "enters/IO", "enters", fine);
  add_figure(table, cells, "shm-hits", "shared_memory_hit_ratio",
             [](double value) { return std::format("{:.1f}%", 100 * value); });
  if (std::ranges::any_of(cells, [](const auto& c) { return c.ratio_to_first.has_value(); }))
    table.columns.push_back({"x first", false, ratio(&CellSummary::ratio_to_first)});
  if (std::ranges::any_of(cells, [](const auto& c) { return c.ratio_to_bare.has_value(); }))
    table.columns.push_back({"x unprobed", false, ratio(&CellSummary::ratio_to_bare)});
  if (std::ranges::any_of(cells, [](const auto& c) { return c.ratio_to_control.has_value(); }))
    table.columns.push_back({"x control", false, ratio(&CellSummary::ratio_to_control)});
  table.columns.push_back({"verified", true, [](const CellSummary& c) {
                             return c.kind == "ublk" ? c.verify : std::string(absent);
                           }});
  return table;
}

std::vector<Row> rows_of(const Table& table, const std::vector<CellSummary>& cells) {
  std::vector<Row> rows;
  Row titles;
  for (const Column& column : table.columns) titles.push_back(column.title);
  rows.push_back(titles);
  for (const CellSummary& cell : cells) {
    Row row;
    for (const Column& column : table.columns) row.push_back(column.value(cell));
    rows.push_back(row);
  }
  return rows;
}

std::string aligned(const Table& table, const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(table.columns.size());
  for (const Row& row : rows)
    for (std::size_t at = 0; at < row.size(); ++at)
      widths[at] = std::max(widths[at], row[at].size());
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t at = 0; at < row.size(); ++at) {
      if (at != 0) line += "  ";
      line += table.columns[at].left ? std::format("{:<{}}", row[at], widths[at])
                                     : std::format("{:>{}}", row[at], widths[at]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string markdown(const Table& table, const std::vector<Row>& rows) {
  std::string text;
  const auto line = [&text](const Row& row) {
    for (const std::string& field : row) text += "| " + field + ' ';
    text += "|\n";
  };
  line(rows.front());
  for (const Column& column : table.columns) text += column.left ? "|:--" : "|--:";
  text += "|\n";
  for (std::size_t at = 1; at < rows.size(); ++at) line(rows[at]);
  return text;
}

/// For programs: every axis and figure, medians and ranges in base units.
std::string csv(const std::vector<CellSummary>& cells) {
  constexpr std::array figures{"iops",
                               "p50_ns",
                               "p99_ns",
                               "p999_ns",
                               "server_cpu_ns",
                               "load_cpu_ns",
                               "server_instructions",
                               "load_instructions",
                               "total_instructions",
                               "fetch_batch",
                               "commit_batch",
                               "enters",
                               "shared_memory_hit_ratio"};
  std::string text =
      "kind,mode,target,depth,block_bytes,pattern,probes,good_samples,failed_samples,verify";
  for (const char* name : figures) text += std::format(",{0},{0}_min,{0}_max", name);
  text += '\n';
  for (const CellSummary& cell : cells) {
    text += std::format("{},{},{},{},{},{},{},{},{},{}", cell.kind, csv_field(cell.mode),
                        csv_field(cell.target), cell.depth, cell.block_bytes, cell.pattern,
                        csv_field(cell.probes), cell.good, cell.failed, cell.verify);
    for (const char* name : figures) {
      const auto found = cell.figures.find(name);
      text += found == cell.figures.end() ? std::string(",,,")
                                          : std::format(",{},{},{}", found->second.median,
                                                        found->second.min, found->second.max);
    }
    text += '\n';
  }
  return text;
}

/// What the figures were taken on, and what they are not.
std::string heading(const Table& table, const json& document) {
  const json none = json::object();
  const json key = document["env"].value("key_fields", none);
  const json machine = key.value("machine", none);
  const json& run = document["run"];
  const auto text_of = [](const json& object, const char* field) {
    return object.contains(field) && object[field].is_string() ? object[field].get<std::string>()
                                                               : std::string();
  };
  std::string text = std::format("Linux {}", text_of(key.value("kernel", none), "release"));
  for (const std::string& same : table.same) text += ", " + same;
  text += std::format(", {} queue(s), {} job(s), {} loop\n", run.value("queues", 1),
                      run.value("jobs", 1), run.value("loop", std::string("closed")));
  text += "Medians of n samples, each with a fresh device and server; min..max is their range.\n";
  if (const std::string clock = text_of(run, "clock"); !clock.empty())
    text += "Clock: " + clock + ".\n";
  else if (text_of(machine, "accelerator") == "tcg")
    text += "Emulated CPU (QEMU TCG): compare rows with each other, not with hardware.\n";
  return text;
}

/// What the probes of each cell's last good sample counted, as ublk-probe prints it.
std::string probed(const json& document) {
  std::string text;
  for (const json& cell : document["cells"]) {
    const json* last = nullptr;
    for (const json& sample : document["samples"])
      if (sample["cell"] == cell["id"] && sample.contains("probe")) last = &sample["probe"];
    if (last == nullptr) continue;
    text += std::format("\n{}, one sample, warm-up included:\n{}", cell["id"].get<std::string>(),
                        last->value("text", std::string()));
  }
  return text;
}

std::string failures(const std::vector<CellSummary>& cells) {
  std::string text;
  for (const CellSummary& cell : cells)
    if (cell.failed != 0) text += std::format("{}: {}\n", cell.id, cell.reason);
  return text;
}

}  // namespace

std::string render(const json& document, TableFormat format) {
  if (format == TableFormat::json) return document.dump(2) + '\n';
  const std::vector<CellSummary> cells = summarize(document);
  if (format == TableFormat::csv) return csv(cells);
  const Table table = layout(cells);
  const std::vector<Row> rows = rows_of(table, cells);
  const std::string body =
      format == TableFormat::markdown ? markdown(table, rows) : aligned(table, rows);
  return heading(table, document) + "\n" + body + failures(cells) +
         (format == TableFormat::text ? probed(document) : std::string());
}

}  // namespace ublkbench
