// SPDX-License-Identifier: MIT
#include "bench/tools/trend_verb.hpp"

#include <cstdio>
#include <filesystem>
#include <format>
#include <print>

#include "analyzers/trend.hpp"
#include "bench/base/atomic_file.hpp"
#include "bench/tools/figures.hpp"
#include "bench/tools/output.hpp"

namespace ublkbench {
namespace {

using namespace analyzers;

/// Each record becomes a line; one that the history has already is named and left alone.
Result<> add_record(const std::string& history, const std::string& path) {
  const auto record = read_record(path);
  if (!record) return std::unexpected(record.error());
  const auto line = history_line(*record);
  if (!line) return std::unexpected(line.error());
  if (std::filesystem::exists(history)) {
    const auto index = HistoryIndex::open(history);
    if (!index) return std::unexpected(index.error());
    for (const std::string& remark : index->remarks())
      std::println(stderr, "ublkbench: note: {}", remark);
    const auto has = index->has(record->run["id"].get<std::string>());
    if (!has) return std::unexpected(has.error());
    if (*has) {
      std::println(stderr, "ublkbench: note: {} is in {} already", path, history);
      return {};
    }
  }
  auto appended = append_line(history, *line);
  if (!appended) return std::unexpected(appended.error().with_exit(ExitCode::usage));
  return {};
}

}  // namespace

void TrendVerb::add_options(CLI::App& app) {
  app.require_subcommand(1);
  auto* const add = app.add_subcommand("add", "Append records to a history");
  add->add_option("history", history_, "The file, made if it is not there")->required();
  add->add_option("records", records_, "Records (--json FILE or --out DIR)")->required();
  auto* const show = app.add_subcommand("show", "How a figure went, and where it changed");
  show->add_option("history", history_, "The file")->required();
  show->add_option("--figure", figure_,
                   known_figures() + " (default: ns_per_io, icount: total_instructions)");
  show->add_option("--filter", filter_, "AXIS=VALUE[|VALUE...] joined by commas");
  show->add_option("--vary", vary_, "A field that may differ from the latest run's; repeatable")
      ->allow_extra_args(false);
  show->add_option("--threshold", threshold_,
                   "Smallest change that is told, in percent (default: 1; icount: 0.1)");
  show->add_option("--format", format_, "text, json")->capture_default_str();
  app.add_subcommand("index", "Make HISTORY.sqlite again")
      ->add_option("history", history_, "The file")
      ->required();
  add_ = add;
  show_ = show;
  app.footer(
      "A history is a file of JSON Lines, a line a run, to which lines are only added. An index\n"
      "beside it (HISTORY.sqlite) is made by itself and can be deleted.\n\n"
      "Examples:\n"
      "  ublkbench trend add history.jsonl run.json\n"
      "  ublkbench trend show history.jsonl --filter mode=copy --vary kernel\n\n"
      "Exit codes: 0 done (whatever changed: 'ublkbench gate' is for that), 2 bad input.");
}

int TrendVerb::run() const {
  if (add_->parsed()) return add();
  return show_->parsed() ? show() : rebuild();
}

int TrendVerb::add() const {
  for (const std::string& path : records_)
    if (auto added = add_record(history_, path); !added) return report(added.error());
  return 0;
}

int TrendVerb::show() const {
  TrendOptions options{.vary = vary_};
  if (!figure_.empty()) {
    const auto figure = parse_figure(figure_);
    if (!figure) return report(figure.error());
    options.figure = *figure;
  }
  auto filter = Filter::parse(filter_);
  if (!filter) return report(filter.error());
  options.filter = std::move(*filter);
  if (!threshold_.empty()) {
    const auto percent = parse_percent(threshold_);
    if (!percent) return report(percent.error());
    options.smallest = *percent / 100;
  }
  if (format_ != "text" && format_ != "json")
    return report(
        bad_input(std::format("unknown format '{}'", format_), "use text or json").error());
  const auto index = HistoryIndex::open(history_);
  if (!index) return report(index.error());
  const auto trend = make_trend(*index, options);
  if (!trend) return report(trend.error());
  return print(format_ == "json" ? trend_json(*trend).dump(1) + "\n" : trend_text(*trend));
}

int TrendVerb::rebuild() const {
  const auto index = HistoryIndex::open(history_, true);
  if (!index) return report(index.error());
  for (const std::string& remark : index->remarks())
    std::println(stderr, "ublkbench: note: {}", remark);
  return 0;
}

}  // namespace ublkbench
