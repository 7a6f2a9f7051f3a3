// SPDX-License-Identifier: MIT
#include "analyzers/run_table.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "analyzers/text_table.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::analyzers {
namespace {

using Cells = std::vector<CellSummary>;
using Word = std::function<std::string(const CellSummary&)>;

constexpr const char* absent = "-";

/// A table whose columns are added one by one.
struct Layout {
  TextTable table;
  std::vector<std::string> same;  // what all rows share, "target null"

  void add(const Cells& cells, const TextColumn& column, const Word& word) {
    table.columns.push_back(column);
    table.rows.resize(cells.size());
    for (std::size_t at = 0; at < cells.size(); ++at) table.rows[at].push_back(word(cells[at]));
  }
};

/// A percentile with fewer than ten I/Os beyond it says of how many it is.
bool is_thin(const CellSummary& cell, Figure figure) {
  return cell.of(figure) && cell.cell->fewest_latencies &&
         *cell.cell->fewest_latencies < ios_needed(figure);
}

std::string thin_percentiles(const Cells& cells) {
  std::string text;
  for (std::size_t at = 0; at < figure_count; ++at)
    if (const auto figure = static_cast<Figure>(at);
        std::ranges::any_of(cells, [&](const CellSummary& cell) { return is_thin(cell, figure); }))
      text += formatted("{}{} needs {}", text.empty() ? "" : ", ", traits(figure).title,
                        ios_needed(figure));
  if (text.empty()) return text;
  return "'of N': a sample has N I/Os, which leaves fewer than ten beyond; " + text + ".\n";
}

/// Samples that count, with the failed ones beside them.
std::string samples_of(const CellSummary& cell) {
  const std::size_t good = cell.cell->samples.size();
  return cell.cell->failed == 0 ? std::to_string(good)
                                : formatted("{} ({} failed)", good, cell.cell->failed);
}

/// One sample has no range.
std::string range_of_iops(const CellSummary& cell) {
  const auto& iops = cell.of(Figure::iops);
  if (!iops || cell.cell->samples.size() < 2) return absent;
  return formatted("{}..{}", format_count(iops->min), format_count(iops->max));
}

bool is_control(const CellSummary& cell) { return cell.cell->axes.is_control(); }

/// A column where the rows differ, else a remark above the table.
void add_axis(Layout& layout, const Cells& cells, const Axis& axis) {
  const auto word = [&axis](const CellSummary& cell) {
    const Axes& axes = cell.cell->axes;
    return is_control(cell) && !axis.is_load ? std::string(absent) : axis.text(axes);
  };
  const auto first = std::ranges::find_if_not(cells, is_control);
  const bool varies = std::ranges::any_of(cells, [&](const CellSummary& cell) {
    return !is_control(cell) && word(cell) != word(*first);
  });
  if (varies)
    layout.add(cells, {.title = std::string(axis.name), .left = axis.is_word()}, word);
  else if (!axis.may_be_none || !axis.is_blank(first->cell->axes))
    layout.same.push_back(formatted("{} {}", axis.name, word(*first)));
}

/// What was in force, where it is not what was asked for: in a column where cells differ, the
/// control's too, else above.
void add_scheduler(Layout& layout, const Cells& cells) {
  std::set<std::string> found;
  bool obeyed = true;
  for (const CellSummary& cell : cells) {
    const std::string word = cell.cell->scheduler();
    if (word.empty()) continue;
    found.insert(word);
    obeyed &= word == axis_named("scheduler")->text(cell.cell->axes);
  }
  if (found.empty() || obeyed) return;
  if (found.size() == 1) return layout.same.push_back("scheduler in force " + *found.begin());
  layout.add(cells, {.title = "in force", .left = true}, [](const CellSummary& cell) {
    const std::string word = cell.cell->scheduler();
    return word.empty() ? std::string(absent) : word;
  });
}

void add_figure(Layout& layout, const Cells& cells, Figure figure) {
  const FigureTraits& of = traits(figure);
  const auto has = [figure](const CellSummary& cell) { return cell.of(figure).has_value(); };
  if (of.title.empty() || (figure != Figure::iops && std::ranges::none_of(cells, has))) return;
  layout.add(
      cells, {.title = std::string(of.title), .rank = of.rank}, [figure](const CellSummary& cell) {
        if (!cell.of(figure)) return std::string(absent);
        const std::string text = print(figure, cell.of(figure)->median);
        return is_thin(cell, figure) ? formatted("{} of {}", text, *cell.cell->fewest_latencies)
                                     : text;
      });
  if (figure == Figure::iops) layout.add(cells, {.title = "min..max", .rank = 4}, range_of_iops);
}

void add_ratio(Layout& layout, const Cells& cells, const char* title, unsigned rank,
               std::optional<double> CellSummary::* field) {
  if (std::ranges::none_of(cells, [&](const CellSummary& c) { return (c.*field).has_value(); }))
    return;
  layout.add(cells, {.title = title, .rank = rank}, [field](const CellSummary& cell) {
    return cell.*field ? formatted("{:.2f}", *(cell.*field)) : std::string(absent);
  });
}

Layout layout_of(const Cells& cells) {
  Layout layout;
  layout.add(cells, {.title = "mode", .left = true},
             [](const CellSummary& cell) { return cell.cell->axes.mode; });
  for (const Axis& axis : all_axes())
    if (axis.name != "kind" && axis.name != "mode") add_axis(layout, cells, axis);
  add_scheduler(layout, cells);
  layout.add(cells, {.title = "n", .rank = 3}, samples_of);
  for (std::size_t at = 0; at < figure_count; ++at)
    add_figure(layout, cells, static_cast<Figure>(at));
  add_ratio(layout, cells, "x first", 3, &CellSummary::ratio_to_first);
  add_ratio(layout, cells, "x unprobed", 1, &CellSummary::ratio_to_bare);
  add_ratio(layout, cells, "x control", 1, &CellSummary::ratio_to_control);
  layout.add(cells, {.title = "verified", .left = true, .rank = 1}, [](const CellSummary& cell) {
    return is_control(cell) ? std::string(absent) : cell.verified;
  });
  return layout;
}

/// For programs: every axis and figure, medians and ranges in base units.
std::string csv(const Cells& cells) {
  std::string text;
  for (const Axis& axis : all_axes()) text += formatted("{},", axis.key);
  text += "scheduler_in_force,good_samples,failed_samples,verify,fewest_ios";
  for (const FigureTraits& figure : figure_traits)
    text += formatted(",{0},{0}_min,{0}_max", figure.name);
  text += '\n';
  for (const CellSummary& cell : cells) {
    for (const Axis& axis : all_axes()) text += csv_field(axis.raw(cell.cell->axes)) + ',';
    text += formatted("{},{},{},{},{}", cell.cell->scheduler(), cell.cell->samples.size(),
                      cell.cell->failed, csv_field(is_control(cell) ? "" : cell.verified),
                      cell.cell->fewest_latencies.value_or(0));
    for (const auto& figure : cell.figures)
      text += figure ? formatted(",{},{},{}", figure->median, figure->min, figure->max)
                     : std::string(",,,");
    text += '\n';
  }
  return text;
}

/// Whose a device is that the run did not make: of what is below run.device.
std::string foreign(const Facts& run) {
  const auto word = [&](const char* name) {
    return fact_word(run, formatted("device.{}", name)).value_or("");
  };
  const auto number = [&](const char* name) {
    return fact_number(run, formatted("device.{}", name)).value_or(-1);
  };
  std::string text = formatted("{} is not this run's", word("path"));
  const bool is_ublk = has_fact(run, "device.id");
  if (is_ublk)
    text +=
        formatted(": ublk device {} of depth {}, {}", number("id"), number("depth"), word("state"));
  if (has_fact(run, "device.server.name")) {
    const std::string* const devices = fact(run, "device.server.devices");
    const auto others = devices != nullptr ? std::ranges::count(*devices, ',') : 0;
    text += formatted(", served by '{}' (process {}){}", word("server.name"), number("server.pid"),
                      others > 0 ? formatted(" with {} other device(s)", others) : std::string());
  } else if (is_ublk) {
    text += ", its server is not known";
  }
  return text + ".\n";
}

/// Whether the data that was read was on a disk at all.
std::string data_remarks(const Record& record) {
  std::map<std::string, DataFacts> targets;
  for (const CellRecord& cell : record.cells) {
    DataFacts& facts = targets[cell.axes.target];
    facts.least_written = std::min(facts.least_written, cell.data.least_written);
    facts.in_memory |= cell.data.in_memory;
    facts.buffered |= cell.data.buffered;
    facts.found_warm |= cell.data.found_warm;
  }
  std::string text;
  std::string warm;
  for (const auto& [target, facts] : targets) {
    if (facts.in_memory)
      text += formatted("{} is in memory (tmpfs or hugetlbfs): no disk is measured.\n", target);
    if (facts.least_written < 1)
      text += formatted(
          "Only {:.1f} % of {} was ever written: reads of the rest (holes) reach no disk.\n",
          std::floor(facts.least_written * 1000) / 10, target);
    if (facts.found_warm) warm += (warm.empty() ? "" : ", ") + target;
  }
  const auto buffered = [](const auto& entry) { return entry.second.buffered; };
  if (std::ranges::none_of(targets, buffered)) return text;
  text += "Buffered: from-dev is the part of what was read that the device gave; memory gave the ";
  return text + "rest. The page cache was empty at the start of each sample" +
         (warm.empty() ? ".\n" : formatted(", but as it was found for {}.\n", warm));
}

/// What the figures were taken on, and what they are not.
std::string heading(const Record& record, const Layout& layout) {
  const Facts& run = record.run;
  std::string text =
      formatted("Linux {}", fact_word(record.env, "key_fields.kernel.release").value_or(""));
  for (const std::string& same : layout.same) text += ", " + same;
  const bool is_foreign = has_fact(run, "device.path");
  const auto queues = fact_number(run, is_foreign ? "device.queues" : "queues");
  text += queues ? formatted(", {} queue(s)", *queues) : std::string(", queues not known");
  text += formatted(", {} job(s), {} loop\n", fact_number(run, "jobs").value_or(1),
                    fact_word(run, "loop").value_or("closed"));
  text += is_foreign ? foreign(run) + "Medians of n samples; min..max is their range.\n"
                     : "Medians of n samples, each with a fresh device and server; min..max is "
                       "their range.\n";
  text += data_remarks(record);
  if (const std::string clock = fact_word(run, "clock").value_or(""); !clock.empty())
    text += "Clock: " + clock + ".\n";
  else if (fact_word(record.env, "key_fields.machine.accelerator") == "tcg")
    text += "Emulated CPU (QEMU TCG): compare rows with each other, not with hardware.\n";
  return text;
}

/// What the probes of each cell's last good sample counted, as ublk-probe prints it.
std::string probed(const Record& record, ProbeText detail) {
  std::string text;
  for (const CellRecord& cell : record.cells)
    if (!cell.probe_text.empty())
      text += formatted("\n{}, its last sample, {}:\n{}", cell.id,
                        cell.probed_in_window ? "measured window only"
                                              : "all the time attached, warm-up included",
                        detail == ProbeText::brief ? cell.probe_brief : cell.probe_text);
  return text;
}

std::string failures(const Record& record) {
  std::string text;
  for (const CellRecord& cell : record.cells)
    if (cell.failed != 0) text += formatted("{}: {}\n", cell.id, cell.reason);
  return text;
}

}  // namespace

std::string run_table(const Record& record, const RunTableOptions& options) {
  const Cells cells = summarize(record);
  if (options.format == TableFormat::csv) return csv(cells);
  const Layout layout = layout_of(cells);
  const bool is_markdown = options.format == TableFormat::markdown;
  return heading(record, layout) + thin_percentiles(cells) + "\n" +
         (is_markdown ? layout.table.markdown() : layout.table.aligned(options.width)) +
         failures(record) + (is_markdown ? std::string() : probed(record, options.probes));
}

Result<TableFormat> parse_format(const std::string& word) {
  if (word == "text") return TableFormat::text;
  if (word == "json") return TableFormat::record;
  if (word == "md" || word == "markdown") return TableFormat::markdown;
  if (word == "csv") return TableFormat::csv;
  return bad_input(formatted("unknown format '{}'", word), "use text, json, md or csv");
}

}  // namespace ublkbench::analyzers
