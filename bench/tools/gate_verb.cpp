// SPDX-License-Identifier: MIT
#include "bench/tools/gate_verb.hpp"

#include <chrono>
#include <format>

#include "analyzers/path_gate.hpp"
#include "bench/base/atomic_file.hpp"
#include "bench/tools/output.hpp"

namespace ublkbench {
namespace {

using namespace analyzers;

/// git bisect run takes 125 for "cannot be tested", and from 128 on for "stop".
constexpr int bisect_skip = 125;
constexpr int bisect_stop = 128;

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
  return std::format("{:%F}",
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
  if (format == "json") return gate_json(outcome).dump(1) + "\n";
  return bad_input(std::format("unknown format '{}'", format), "use text, md or json");
}

}  // namespace

void GateVerb::add_options(CLI::App& app) {
  app.add_option("records", records_, "Records of the boots to judge (--json FILE or --out DIR)")
      ->required();
  app.add_option("--baseline", baseline_, "What they are held against")->required();
  app.add_option("--waivers", waivers_, "Known regressions, each with ceiling, expiry and issue");
  app.add_option("--threshold", threshold_,
                 "Smallest change that counts, in percent (default: 0.5)");
  app.add_option("--vary", vary_, "A field that may differ from the baseline's; repeatable")
      ->allow_extra_args(false);
  app.add_option("--format", format_, "text, md, json")->capture_default_str();
  app.add_option("--json", json_path_, "Write the verdict there, too");
  app.add_option("--inconclusive", inconclusive_, "fail: exit 3; warn: exit 0")
      ->capture_default_str();
  app.add_flag("--bisect", bisect_, "Exit codes for 'git bisect run'");
  app.footer(
      "Judges instructions per I/O of fixed work under icount against a baseline. scripts/gate "
      "boots\n"
      "the guests and calls this.\n\n"
      "A cell is longer if its median is beyond the threshold and every sample is above every one "
      "of\n"
      "the baseline. A moved control, missing cells and failed samples are inconclusive.\n\n"
      "Waivers: {\"schema\": \"ublkbench.waivers/1\", \"waivers\": [{\"cell\": \"copy null qd=1 "
      "bs=4k\n"
      "randread\", \"figure\": \"total_instructions\", \"ceiling_percent\": 2, \"expires\": "
      "\"2026-12-31\",\n"
      "\"issue\": \"#12\"}]}\n\n"
      "Exit codes: 0 pass, 1 regression, 2 bad input, 3 inconclusive, 4 not comparable;\n"
      "with --bisect 3, 4 and 5 become 125 (skip) and 2 becomes 128 (stop).");
}

int GateVerb::run() const {
  const auto end = [this](ExitCode code) {
    return bisect_ ? bisect_code(code) : static_cast<int>(code);
  };
  const auto fail = [&end](const Error& error) {
    (void)report(error);
    return end(error.exit);
  };
  if (inconclusive_ != "fail" && inconclusive_ != "warn")
    return fail(
        bad_input(std::format("--inconclusive {}", inconclusive_), "use fail or warn").error());
  GateOptions options{.vary = vary_, .today = today()};
  if (!threshold_.empty()) {
    const auto percent = parse_percent(threshold_);
    if (!percent) return fail(percent.error());
    options.change = *percent / 100;
  }
  if (!waivers_.empty()) {
    auto waivers = read_waivers(waivers_);
    if (!waivers) return fail(waivers.error());
    options.waivers = std::move(*waivers);
  }
  const auto baseline = read_baseline(baseline_);
  if (!baseline) return fail(baseline.error());
  const auto records = read_all(records_);
  if (!records) return fail(records.error());
  const auto outcome = judge_against(*baseline, *records, options);
  if (!outcome) return fail(outcome.error());
  const auto text = render(*outcome, format_);
  if (!text) return fail(text.error());
  if (!json_path_.empty())
    if (auto written = write_file_atomically(json_path_, gate_json(*outcome).dump(1) + "\n");
        !written)
      return fail(written.error().with_exit(ExitCode::usage));
  if (print(*text) != 0) return end(ExitCode::usage);
  if (outcome->verdict == GateVerdict::inconclusive && inconclusive_ == "warn")
    return end(ExitCode::ok);
  return end(exit_of(outcome->verdict));
}

void BaselineVerb::add_options(CLI::App& app) {
  app.require_subcommand(1);
  accept_ = app.add_subcommand("accept", "Make records the baseline; commit the file by itself");
  accept_->add_option("baseline", path_, "The file")->required();
  accept_->add_option("records", records_, "Records of three boots or more")->required();
  accept_->add_option("--reason", reason_, "Why; it stays in the file")->required();
  show_ = app.add_subcommand("show", "Print a baseline: what it is of, and its cells");
  show_->add_option("baseline", path_, "The file")->required();
  app.add_subcommand("verify", "Check that a baseline can be used; silent if it can")
      ->add_option("baseline", path_, "The file")
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
      make_baseline(*records, {.at = std::format("{:%FT%TZ}", now), .reason = reason_});
  if (!baseline) return report(baseline.error());
  if (auto written = write_file_atomically(path_, to_file_text(*baseline)); !written)
    return report(written.error().with_exit(ExitCode::usage));
  return 0;
}

int BaselineVerb::show() const {
  const auto baseline = read_baseline(path_);
  if (!baseline) return report(baseline.error());
  std::string text = std::format("commit {}, accepted {}: {}\n", baseline->accepted.commit,
                                 baseline->accepted.at, baseline->accepted.reason);
  for (const auto& [name, value] : baseline->fields.items())
    text += std::format("  {}: {}\n", name, value.dump());
  for (const CellRecord& cell : baseline->cells) {
    text += cell.id + "\n";
    for (const Figure figure : gated_figures) {
      const auto values = cell.values(figure);
      if (values.empty()) continue;
      const Interval spread = *range(values);
      text += std::format("  {:<20} {:>8.0f}  {:.0f}..{:.0f}  n={}\n", traits(figure).name,
                          *median(values), spread.low, spread.high, values.size());
    }
  }
  return print(text);
}

}  // namespace ublkbench
