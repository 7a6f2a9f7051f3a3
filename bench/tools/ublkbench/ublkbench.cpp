// SPDX-License-Identifier: MIT
// ublkbench: the main program. Without a verb it runs the main job.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "analyzers/filter.hpp"
#include "bench/base/entry.hpp"
#include "bench/base/units.hpp"
#include "bench/cli/help_formatter.hpp"
#include "bench/cli/print_options.hpp"
#include "bench/load/options.hpp"
#include "bench/record/probe_document.hpp"
#include "bench/record/tool_identity.hpp"
#include "bench/server/mode.hpp"
#include "bench/targets/target.hpp"
#include "bench/tools/ublkbench/calibrate_verb.hpp"
#include "bench/tools/ublkbench/compare_verb.hpp"
#include "bench/tools/ublkbench/doctor.hpp"
#include "bench/tools/ublkbench/explain_verb.hpp"
#include "bench/tools/ublkbench/figures.hpp"
#include "bench/tools/ublkbench/gate_verb.hpp"
#include "bench/tools/ublkbench/modes_verb.hpp"
#include "bench/tools/ublkbench/output.hpp"
#include "bench/tools/ublkbench/report_verb.hpp"
#include "bench/tools/ublkbench/run_cli.hpp"
#include "bench/tools/ublkbench/run_verb.hpp"
#include "bench/tools/ublkbench/trend_verb.hpp"

namespace ublkbench {
namespace {

constexpr const char* verbs[] = {"run",      "modes",  "doctor", "compare",   "gate",
                                 "baseline", "report", "trend",  "calibrate", "explain"};

constexpr std::string_view about_the_program[] = {"--help", "-h", "--version", "--print-options"};

Vocabulary vocabulary() {
  std::vector<std::string> modes = mode_words();
  modes.emplace_back("all");
  // ublk-probe knows them; a record has a field for each.
  std::vector<std::string> probes;
  for_each_field<probed::Records>([&](const auto& probe) { probes.emplace_back(probe.name); });
  std::vector<std::string> axes = split(analyzers::known_axes(), ',');
  for (std::string& axis : axes) axis.erase(0, axis.find_first_not_of(' '));
  return {{"WORDS", modes},  {"TARGET", target_forms()}, {"PATTERN", load::pattern_words()},
          {"PROBE", probes}, {"FIGURE", figure_words()}, {"AXIS", axes}};
}

/// "ublkbench --qd 1" is "ublkbench run --qd 1".
std::vector<std::string> with_verb(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const bool about = !words.empty() && std::ranges::contains(about_the_program, words[0]);
  const bool has_verb = !words.empty() && !words[0].starts_with('-');
  if (!has_verb && !about) words.insert(words.begin(), "run");
  return words;
}

int run(int argc, char** argv) {
  CLI::App app{"Benchmarks ublk, Linux's userspace block driver.", "ublkbench"};
  app.set_version_flag("--version", version_text());
  app.formatter(std::make_shared<HelpFormatter>());
  add_print_options(app, vocabulary(), verbs[0]);
  app.require_subcommand(1);

  int code = 0;
  RunCli run_cli;
  auto* const run = app.add_subcommand(verbs[0], "Measure modes against each other (the default)");
  run_cli.add_options(*run);
  run->callback([&] {
    auto request = run_cli.request();
    if (!request) {
      code = report(request.error());
    } else {
      code = run_matrix(std::move(*request), std::vector<std::string>(argv, argv + argc));
    }
  });

  bool as_json = false;
  bool all = false;
  auto* const modes =
      app.add_subcommand(verbs[1], "List every mode, granted or not by this kernel, and why");
  modes->add_flag("--all", all, "A row for every combination");
  modes->add_flag("--json", as_json, "As JSON");
  modes->callback([&] { code = run_modes(all, as_json); });

  auto* const doctor = app.add_subcommand(verbs[2], "Check this machine and say what to do");
  doctor->add_flag("--json", as_json, "As JSON");
  doctor->callback([&] { code = run_doctor(as_json); });

  const auto add_verb = [&](const std::string& name, const char* what, auto& verb) {
    auto* const added = app.add_subcommand(name, what);
    verb.add_options(*added);
    added->callback([&] { code = verb.run(); });
  };
  CompareVerb compare_verb;
  add_verb(verbs[3], "Put runs beside each other, with verdicts", compare_verb);
  GateVerb gate_verb;
  add_verb(verbs[4], "Judge records against a baseline: has the path grown?", gate_verb);
  BaselineVerb baseline_verb;
  add_verb(verbs[5], "Accept, show or verify a baseline", baseline_verb);

  auto* const report =
      app.add_subcommand(verbs[6], "An HTML page and pictures of records (ublk-report)");
  report->prefix_command()->set_help_flag();
  report->callback([&] { code = run_report(report->remaining()); });

  TrendVerb trend_verb;
  add_verb(verbs[7], "A history of runs, and where it changed", trend_verb);

  CalibrateVerb calibrate_verb;
  auto* const calibrate =
      app.add_subcommand(verbs[8], "Measure this machine's noise: what can be resolved here?");
  calibrate_verb.add_options(*calibrate);
  calibrate->callback(
      [&] { code = calibrate_verb.run(std::vector<std::string>(argv, argv + argc)); });

  ExplainVerb explain_verb;
  add_verb(verbs[9], "Name the bottleneck of each cell of a record, and what to try", explain_verb);

  // Last: verbs take it over from the program that they are added to.
  app.footer("Without a verb: 'run'. 'ublkbench run --help' lists the options of the main job.");
  std::vector<std::string> words = with_verb(argc, argv);
  std::ranges::reverse(words);  // CLI11 takes a vector back to front
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return ublkbench::report(bad_input(error.what(), "see 'ublkbench run --help'").error());
  }
  return code;
}

}  // namespace
}  // namespace ublkbench

int main(int argc, char** argv) {
  return ublkbench::enter("ublkbench", argc, argv, [&] { return ublkbench::run(argc, argv); });
}
