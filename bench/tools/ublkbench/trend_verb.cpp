// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/trend_verb.hpp"

#include <filesystem>

#include "analyzers/trend.hpp"
#include "bench/base/atomic_file.hpp"
#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/tools/ublkbench/figures.hpp"
#include "bench/tools/ublkbench/output.hpp"

namespace ublkbench {
namespace {

using namespace analyzers;

/// Each record becomes a line; one that the history has already is named and left alone.
Result<> add_record(const std::string& path, const std::string& record_path) {
  const auto record = read_record(record_path);
  if (!record) return std::unexpected(record.error());
  const auto line = history_line(*record);
  if (!line) return std::unexpected(line.error());
  if (std::filesystem::exists(path)) {
    const auto history = read_history(path, {});
    if (!history) return std::unexpected(history.error());
    if (const std::string torn = history->remark(path); !torn.empty())
      say("ublkbench: note: {}", torn);
    if (history->has(fact_word(record->run, "id").value_or(""))) {
      say("ublkbench: note: {} is in {} already", record_path, path);
      return {};
    }
  }
  auto appended = append_line(path, *line);
  if (!appended) return std::unexpected(appended.error().with_exit(ExitCode::usage));
  return {};
}

}  // namespace

void TrendVerb::add_options(CLI::App& app) {
  app.require_subcommand(1);
  auto* const add = app.add_subcommand("add", "Append records to a history");
  add->add_option("history", history_, "The file, made if it is not there")
      ->type_name("FILE")
      ->required();
  add->add_option("records", records_, "Records (--json FILE or --out DIR)")
      ->type_name("RECORD")
      ->required();
  auto* const show = app.add_subcommand("show", "How a figure went, and where it changed");
  show->add_option("history", history_, "The file")->type_name("FILE")->required();
  show->add_option("--figure", figure_,
                   known_figures() + " (default: ns_per_io, icount: total_instructions)")
      ->type_name("FIGURE");
  show->add_option("--filter", filter_, "AXIS=VALUE[|VALUE...] joined by commas")
      ->type_name("FILTER");
  show->add_option("--vary", vary_, "A field that may differ from the latest run's; repeatable")
      ->type_name("FIELD")
      ->allow_extra_args(false);
  show->add_option("--threshold", threshold_,
                   "Smallest change that is told, in percent (default: 1; icount: 0.1)")
      ->type_name("PERCENT");
  show->add_option("--format", format_, "Of the answer")
      ->type_name("text|json")
      ->capture_default_str();
  add_ = add;
  app.footer(
      "A history is a file of JSON Lines, a line a run, to which lines are only added.\n\n"
      "Examples:\n"
      "  ublkbench trend add history.jsonl run.json\n"
      "  ublkbench trend show history.jsonl --filter mode=copy --vary kernel\n\n"
      "Exit codes: 0 done (whatever changed: 'ublkbench gate' is for that), 2 bad input.");
}

int TrendVerb::run() const { return add_->parsed() ? add() : show(); }

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
  const auto percent = parse_percent(threshold_);
  if (!percent) return report(percent.error());
  options.smallest = *percent;
  if (format_ != "text" && format_ != "json")
    return report(bad_input(formatted("unknown format '{}'", format_), "use text or json").error());
  const auto trend = make_trend(history_, options);
  if (!trend) return report(trend.error());
  return print(format_ == "json" ? trend_document(*trend) : trend_text(*trend));
}

}  // namespace ublkbench
