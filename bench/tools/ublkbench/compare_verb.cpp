// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/compare_verb.hpp"

#include <algorithm>

#include "analyzers/compare.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/tools/ublkbench/figures.hpp"
#include "bench/tools/ublkbench/output.hpp"

namespace ublkbench {
namespace {

using namespace analyzers;

Result<Figure> figure_of(const std::string& name, const std::vector<Arm>& arms) {
  // Under icount the whole guest's instructions are what a time would be elsewhere.
  if (name.empty())
    return arms.front().records.front().counts_instructions() ? Figure::total_instructions
                                                              : Figure::ns_per_io;
  return parse_figure(name);
}

Result<> check_axis(const std::string& name) {
  if (is_axis(name)) return {};
  return bad_input(formatted("there is no axis '{}'", name), "use one of " + known_axes());
}

Result<std::string> render(const CompareTable& table, const std::string& format) {
  if (format == "text") return compare_text(table);
  if (format == "md" || format == "markdown") return compare_markdown(table);
  if (format == "csv") return compare_csv(table);
  if (format == "json") return compare_document(table);
  return bad_input(formatted("unknown format '{}'", format), "use text, md, csv or json");
}

}  // namespace

void CompareVerb::add_options(CLI::App& app) {
  app.add_option("records", records_, "Records (--json FILE or --out DIR), or LABEL=RECORD")
      ->type_name("RECORD")
      ->required();
  app.add_option("--figure", figure_,
                 known_figures() + " (default: ns_per_io, icount: total_instructions)")
      ->type_name("FIGURE");
  app.add_option("--columns,--cols", columns_,
                 "Axis across: " + known_axes() + " (default: arm; of one record: mode)")
      ->type_name("AXIS");
  app.add_option("--rows", rows_, "Axes to sort the rows by, joined by commas")
      ->type_name("AXIS,...");
  app.add_option("--filter", filter_, "AXIS=VALUE[|VALUE...] joined by commas")
      ->type_name("FILTER");
  app.add_option("--vary", vary_, "A field, or group of fields, that may differ; repeatable")
      ->type_name("FIELD")
      ->allow_extra_args(false);
  app.add_option("--threshold", threshold_,
                 "Smallest change that counts, in percent (default: 5; icount: 0.5)")
      ->type_name("PERCENT");
  app.add_option("--format", format_, "Of the table")
      ->type_name("text|md|csv|json")
      ->capture_default_str();
  app.add_flag("--compare-anyway", anyway_, "A table of unlike environments, without verdicts");
  app.footer(
      "The first arm (or the first value of --columns) is the reference. Several records under "
      "one\n"
      "label count as one arm.\n\n"
      "Examples:\n"
      "  ublkbench compare before.json after.json\n"
      "  ublkbench compare run.json --columns mode --rows qd --filter kind=ublk\n"
      "  ublkbench compare 6.12=a.json 7.3=b.json --vary kernel --vary ublk_driver --format md\n\n"
      "Exit codes: 0 done (whatever the verdicts: 'ublkbench gate' is for those), 2 bad input,\n"
      "4 not comparable.");
}

int CompareVerb::run() const {
  const auto arms = read_arms(records_);
  if (!arms) return report(arms.error());
  CompareOptions options{
      .columns = columns_.empty() ? (arms->size() > 1 ? "arm" : "mode") : columns_,
      .rows = split(rows_, ','),
      .vary = vary_,
      .anyway = anyway_};
  if (auto checked = check_axis(options.columns); !checked) return report(checked.error());
  for (const std::string& axis : options.rows)
    if (auto checked = check_axis(axis); !checked) return report(checked.error());
  const auto figure = figure_of(figure_, *arms);
  if (!figure) return report(figure.error());
  options.figure = *figure;
  auto filter = Filter::parse(filter_);
  if (!filter) return report(filter.error());
  options.filter = std::move(*filter);
  const auto percent = parse_percent(threshold_);
  if (!percent) return report(percent.error());
  options.change = *percent;
  const auto table = compare(*arms, options);
  if (!table) return report(table.error());
  const auto text = render(*table, format_);
  if (!text) return report(text.error());
  const int printed = print(*text);
  return printed != 0 || table->unlike.empty() ? printed
                                               : static_cast<int>(ExitCode::not_comparable);
}

}  // namespace ublkbench
