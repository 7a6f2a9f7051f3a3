// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/gate_verb.hpp"

#include <unistd.h>

#include <chrono>

#include "analyzers/path_gate.hpp"
#include "bench/base/atomic_file.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/units.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/program.hpp"
#include "bench/tools/ublkbench/gate_self_test.hpp"
#include "bench/tools/ublkbench/output.hpp"
#include "bench/tools/ublkbench/sitting.hpp"

namespace ublkbench {
namespace {

using namespace analyzers;

/// git bisect run takes 125 for "cannot be tested", and from 128 on for "stop".
constexpr int bisect_skip = 125;
constexpr int bisect_stop = 128;
/// Fewer pairs give no interval at 98 %; what 100 do not show is too small to be gated.
constexpr unsigned pairs_min = 5;
constexpr unsigned pairs_max = 100;

int bisect_code(ExitCode code) {
  switch (code) {
    case ExitCode::inconclusive:
    case ExitCode::not_comparable:
    case ExitCode::environment:
      return bisect_skip;
    case ExitCode::usage:
      return bisect_stop;
    default:
      return static_cast<int>(code);
  }
}

std::string today() {
  return formatted("{:%F}",
                   std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()));
}

Result<std::vector<Record>> read_all(const std::vector<std::string>& paths) {
  std::vector<Record> records;
  for (const std::string& path : paths) {
    auto record = read_record(path);
    if (!record) return std::unexpected(record.error());
    records.push_back(std::move(*record));
  }
  return records;
}

Result<std::string> render(const GateOutcome& outcome, const std::string& format) {
  if (format == "text") return gate_text(outcome);
  if (format == "md" || format == "markdown") return gate_markdown(outcome);
  if (format == "json") return gate_document(outcome);
  return bad_input(formatted("unknown format '{}'", format), "use text, md or json");
}

}  // namespace

void GateVerb::add_options(CLI::App& app) {
  app.add_option(
         "records", words_,
         "Records of the boots to judge; with --against: words of 'ublkbench run', after --")
      ->type_name("RECORD");
  app.add_option("--baseline", baseline_, "Judge path length: what the records are held against")
      ->type_name("FILE");
  app.add_option("--against", against_,
                 "Judge times: another build's ublkbench, measured in turns with this one")
      ->type_name("PROGRAM");
  app.add_option("--program", program_, "--against: judge this program instead of this one")
      ->type_name("PROGRAM");
  app.add_option("--pairs", pairs_, "--against: pairs a cell; twice as many where they are unclear")
      ->capture_default_str();
  app.add_option("--sample-time", sample_time_, "--against: about so long is a sample")
      ->type_name("TIME")
      ->capture_default_str();
  app.add_option("--seed", seed_, "--against: of the order of cells and of offsets")
      ->capture_default_str();
  app.add_option("--out", folder_, "--against: keep the records in this folder")->type_name("DIR");
  app.add_flag("--self-test", self_test_,
               "Can this gate pass here, and can it fail? Path length under icount, else times");
  app.add_option("--waivers", waivers_, "Known regressions, each with ceiling, expiry and issue")
      ->type_name("FILE");
  app.add_option("--threshold", threshold_,
                 "Smallest change that counts, in percent (default: path length 0.5, times 5)")
      ->type_name("PERCENT");
  app.add_option("--vary", vary_, "A field that may differ between both sides; repeatable")
      ->type_name("FIELD")
      ->allow_extra_args(false);
  app.add_option("--format", format_, "Of the verdict")
      ->type_name("text|md|json")
      ->capture_default_str();
  app.add_option("--json", json_path_, "Write the verdict there, too")->type_name("FILE");
  app.add_option("--inconclusive", inconclusive_, "fail: exit 3; warn: exit 0")
      ->type_name("fail|warn")
      ->capture_default_str();
  app.add_option("--moved-environment", moved_environment_,
                 "Where only kernel, machine or compiler differ: fail: exit 4; warn: exit 0")
      ->type_name("fail|warn")
      ->capture_default_str();
  app.add_flag("--bisect", bisect_, "Exit codes for 'git bisect run'");
  app.footer(
      "--baseline judges instructions per I/O of fixed work under icount; scripts/gate boots the\n"
      "guests and calls it. A cell is longer if its median is beyond the threshold and every "
      "sample\n"
      "is above every one of the baseline.\n\n"
      "--against judges times on real hardware: both builds in one sitting, A B B A, each sample "
      "with\n"
      "a fresh server. A cell is slower if its ratio is beyond the threshold, the interval's near "
      "end\n"
      "beyond 1 %, and both again in fresh pairs. A PROGRAM gets the words of 'ublkbench run' and "
      "may\n"
      "hand them to another kernel's guest.\n\n"
      "A moved or missing control, missing cells, failed samples and an unfit machine are\n"
      "inconclusive.\n\n"
      "Examples:\n"
      "  ublkbench gate --against old/ublkbench -- --mode copy --mode batch,auto_zc --qd 1,128\n"
      "  ublkbench gate --baseline good.json boot1.json boot2.json boot3.json\n\n"
      "Waivers: {\"schema\": \"ublkbench.waivers/1\", \"waivers\": [{\"cell\": \"copy null qd=1 "
      "bs=4k\n"
      "randread\", \"figure\": \"total_instructions\", \"ceiling_percent\": 2, \"expires\": "
      "\"2026-12-31\",\n"
      "\"issue\": \"#12\"}]}\n\n"
      "Exit codes: 0 pass, 1 regression, 2 bad input, 3 inconclusive, 4 not comparable, 5 no "
      "ublk;\n"
      "with --bisect 3, 4 and 5 become 125 (skip) and 2 becomes 128 (stop).");
}

Result<> GateVerb::check_options() const {
  if (baseline_.empty() == against_.empty())
    return bad_input("a gate judges records by --baseline FILE, or a program by --against PROGRAM",
                     "see 'ublkbench gate --help'");
  for (const auto& [name, word] : {std::pair{"--inconclusive", &inconclusive_},
                                   std::pair{"--moved-environment", &moved_environment_}})
    if (*word != "fail" && *word != "warn")
      return bad_input(formatted("{} {}", name, *word), "use fail or warn");
  if (pairs_ < pairs_min || pairs_ > pairs_max)
    return bad_input(formatted("--pairs {}", pairs_),
                     formatted("{} to {}: fewer give no 98 % interval", pairs_min, pairs_max));
  return {};
}

Result<GateOptions> GateVerb::gate_options() const {
  GateOptions options{.change = {}, .vary = vary_, .waivers = {}, .today = today()};
  const auto percent = parse_percent(threshold_);
  if (!percent) return std::unexpected(percent.error());
  options.change = *percent;
  if (!waivers_.empty()) {
    auto waivers = read_waivers(waivers_);
    if (!waivers) return std::unexpected(waivers.error());
    options.waivers = std::move(*waivers);
  }
  return options;
}

Result<GateOutcome> GateVerb::judge_records() const {
  const auto options = gate_options();
  if (!options) return std::unexpected(options.error());
  const auto baseline = read_baseline(baseline_);
  if (!baseline) return std::unexpected(baseline.error());
  const auto records = read_all(words_);
  if (!records) return std::unexpected(records.error());
  return judge_against(*baseline, *records, *options);
}

Result<GateOutcome> GateVerb::judge_programs() const {
  auto options = gate_options();
  if (!options) return std::unexpected(options.error());
  const auto sample_ns = parse_duration_ns(sample_time_);
  if (!sample_ns) return std::unexpected(sample_ns.error());
  const std::string now = program_.empty() ? process::own_path() : program_;
  for (const std::string& program : {against_, now})
    if (::access(program.c_str(), X_OK) != 0)
      return std::unexpected(
          failed("run", program, errno, "name a ublkbench").error().with_exit(ExitCode::usage));
  process::handle_interrupts();
  return hold_sitting({.before = {.program = against_, .instead_of_target = {}, .target = {}},
                       .now = {.program = now, .instead_of_target = {}, .target = {}},
                       .words = words_,
                       .pairs = pairs_,
                       .sample_ns = *sample_ns,
                       .seed = seed_,
                       .folder = folder_,
                       .gate = std::move(*options)});
}

Result<ExitCode> GateVerb::judge() const {
  if (auto checked = check_options(); !checked) return std::unexpected(checked.error());
  const auto outcome = against_.empty() ? judge_records() : judge_programs();
  if (!outcome) return std::unexpected(outcome.error());
  const auto text = render(*outcome, format_);
  if (!text) return std::unexpected(text.error());
  if (!json_path_.empty())
    if (auto written = write_file_atomically(json_path_, gate_document(*outcome)); !written)
      return std::unexpected(written.error().with_exit(ExitCode::usage));
  if (print(*text) != 0) return ExitCode::usage;
  if (outcome->verdict == GateVerdict::inconclusive && inconclusive_ == "warn") return ExitCode::ok;
  if (only_environment_moved(*outcome) && moved_environment_ == "warn") return ExitCode::ok;
  return exit_of(outcome->verdict);
}

int GateVerb::run() const {
  if (self_test_) return run_gate_self_test();
  const auto verdict = judge();
  if (!verdict) (void)report(verdict.error());
  const ExitCode code = verdict ? *verdict : verdict.error().exit;
  return bisect_ ? bisect_code(code) : static_cast<int>(code);
}

void BaselineVerb::add_options(CLI::App& app) {
  app.require_subcommand(1);
  accept_ = app.add_subcommand("accept", "Make records the baseline; commit the file by itself");
  accept_->add_option("baseline", path_, "The file")->type_name("FILE")->required();
  accept_->add_option("records", records_, "Records of three boots or more")
      ->type_name("RECORD")
      ->required();
  accept_->add_option("--reason", reason_, "Why; it stays in the file")->required();
  show_ = app.add_subcommand("show", "Print a baseline: what it is of, and its cells");
  show_->add_option("baseline", path_, "The file")->type_name("FILE")->required();
  app.add_subcommand("verify", "Check that a baseline can be used; silent if it can")
      ->add_option("baseline", path_, "The file")
      ->type_name("FILE")
      ->required();
  app.footer(
      "A baseline is never written but by 'accept'. Exit codes: 0 done, 2 bad input,\n"
      "4 the records are of different environments.");
}

int BaselineVerb::run() const {
  if (accept_->parsed()) return accept();
  if (show_->parsed()) return show();
  const auto baseline = read_baseline(path_);
  return baseline ? 0 : report(baseline.error());
}

int BaselineVerb::accept() const {
  if (reason_.find_first_not_of(" \t\n") == std::string::npos)
    return report(bad_input("--reason is empty", "say why this is the new baseline").error());
  const auto records = read_all(records_);
  if (!records) return report(records.error());
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto baseline =
      make_baseline(*records, {.at = formatted("{:%FT%TZ}", now), .reason = reason_});
  if (!baseline) return report(baseline.error());
  if (auto written = write_file_atomically(path_, to_file_text(*baseline)); !written)
    return report(written.error().with_exit(ExitCode::usage));
  return 0;
}

int BaselineVerb::show() const {
  const auto baseline = read_baseline(path_);
  if (!baseline) return report(baseline.error());
  std::string text = formatted("commit {}, accepted {}: {}\n", baseline->accepted.commit,
                               baseline->accepted.at, baseline->accepted.reason);
  for (const auto& [name, value] : baseline->fields) text += formatted("  {}: {}\n", name, value);
  for (const CellRecord& cell : baseline->cells) {
    text += cell.id + "\n";
    for (const Figure figure : gated_figures) {
      const auto values = cell.values(figure);
      if (values.empty()) continue;
      const Interval spread = *range(values);
      text += formatted("  {:<20} {:>8.0f}  {:.0f}..{:.0f}  n={}\n", traits(figure).name,
                        *median(values), spread.low, spread.high, values.size());
    }
  }
  return print(text);
}

}  // namespace ublkbench
