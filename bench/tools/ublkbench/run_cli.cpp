// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/run_cli.hpp"

#include <algorithm>

#include "analyzers/text_table.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/cli/words.hpp"
#include "bench/suite/usage.hpp"
#include "bench/tools/options/server_cli.hpp"
#include "bench/tools/ublkbench/run_words.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t default_runtime_ns = 5'000'000'000;
constexpr std::uint64_t default_icount_ios = 30'000;

/// A comma-separated axis, each part through `parse`.
template <class T, class Parse>
Result<std::vector<T>> axis(const std::string& text, std::string_view option, Parse&& parse) {
  std::vector<T> values;
  for (const std::string& part : split(text, ',')) {
    auto value = parse(part);
    if (!value)
      return bad_input(formatted("{}: {}", option, value.error().operation), value.error().hint);
    values.push_back(static_cast<T>(*value));
  }
  if (values.empty()) return bad_input(formatted("{} is empty", option));
  return values;
}

Result<unsigned> parse_depth(const std::string& text) {
  const auto depth = parse_count(text);
  if (!depth) return std::unexpected(depth.error());
  if (*depth < 1 || *depth > UBLK_MAX_QUEUE_DEPTH)
    return bad_input(formatted("queue depth {}", text),
                     formatted("the driver takes 1 to {}", UBLK_MAX_QUEUE_DEPTH));
  return static_cast<unsigned>(*depth);
}

Result<VerifyPolicy> parse_verify(const std::string& word) {
  if (word == "auto") return VerifyPolicy::automatic;
  if (word == "on") return VerifyPolicy::on;
  if (word == "off") return VerifyPolicy::off;
  return bad_input(formatted("--verify {}", word), "use auto, on or off");
}

}  // namespace

void RunCli::add_options(CLI::App& app) {
  app_ = &app;
  add_matrix(app);
  add_load(app);
  add_server(app);
  add_output(app);
  app.footer(
      "Every comma-separated list is an axis of the matrix, except --mode: there commas join "
      "words\n"
      "into one mode, and the option is repeated to compare modes.\n\n"
      "Examples:\n"
      "  ublkbench --mode batch,auto_zc --qd 128\n"
      "  ublkbench --mode copy --mode auto_zc --mode batch,auto_zc --qd 1,32,128 --json run.json\n"
      "  ublkbench --mode all --target mem:256M --rw randrw\n"
      "  ublkbench --device /dev/ublkb0 --qd 1,64       (somebody else's server)\n\n"
      "Exit codes: 0 done, 2 bad input, 5 this machine cannot do it, 6 I/O or data error, 7 hang,\n"
      "130 interrupted.");
}

void RunCli::add_matrix(CLI::App& app) {
  app.add_option("--mode,-m", modes_, "Mode words joined by commas; repeat to compare; 'all'")
      ->type_name("WORDS")
      ->capture_default_str()
      ->allow_extra_args(false)
      ->group("Matrix");
  app.add_option("--target,-t", values_.targets, target_help())
      ->type_name("TARGET")
      ->capture_default_str()
      ->allow_extra_args(false)
      ->group("Matrix");
  app.add_option("--qd", depths_, "Depth of the device's queues and I/Os in flight per job")
      ->type_name("N,...")
      ->capture_default_str()
      ->group("Matrix");
  app.add_option("--bs", sizes_, "Block sizes")
      ->type_name("SIZE,...")
      ->capture_default_str()
      ->group("Matrix");
  app.add_option("--rw", patterns_, "read, write, randread, randwrite, rw, randrw")
      ->type_name("PATTERN,...")
      ->capture_default_str()
      ->group("Matrix");
  app.add_option("--repeat", values_.repeat, "Rounds; each has every cell, shuffled")
      ->capture_default_str()
      ->group("Matrix");
  app.add_option("--seed", values_.seed, "Seed of the order and of the offsets")
      ->capture_default_str()
      ->group("Matrix");
  app.add_option("--control", values_.control,
                 "Cell without ublk in every round: null_blk, none, or a device to read")
      ->type_name("null_blk|none|PATH")
      ->capture_default_str()
      ->group("Matrix");
  for (const Axis& axis : all_axes())
    if (!axis.option.empty())
      app.add_option(std::string(axis.option), settings_[axis.name], std::string(axis.help))
          ->type_name(axis.is_word() ? "WORD,..." : "N,...")
          ->default_str(axis.text({}))
          ->group("Matrix");
  app.add_option("--probe", values_.probes,
                 "Attach these probes of ublk-probe, joined by commas; every cell is measured with "
                 "and without them")
      ->type_name("PROBE,...")
      ->group("Matrix");
  app.add_option("--device", values_.device,
                 "Drive a device that somebody else serves; no server of ours is started")
      ->type_name("PATH")
      ->group("Matrix");
}

void RunCli::add_load(CLI::App& app) {
  load_.add_options(app, values_.load, "5s; under --icount the work of --ios 30k",
                    "Allow writes to data that this run did not make: loop, stripe and nbd "
                    "targets, --device, --control DEV");
  app.add_option("--verify", verify_,
                 "Check before timing that each mode keeps data, which writes; auto "
                 "leaves out what needs --destructive (default: auto; --verify alone means on)")
      ->type_name("auto|on|off")
      ->expected(0, 1)
      ->default_str("on")
      ->group("Load");
  app.add_option("--hang-dump", values_.hang_dump.program,
                 "ublk-dump, asked why when something hangs; 'off' (default: the one beside "
                 "ublkbench, else in $PATH)")
      ->type_name("PROGRAM")
      ->group("Load");
  app.add_option("--hang-dump-timeout", hang_dump_timeout_, "Its answer is waited for so long")
      ->type_name("TIME")
      ->capture_default_str()
      ->group("Load");
}

void RunCli::add_server(CLI::App& app) {
  app.add_option("--queues", values_.server.queues, "Hardware queues")
      ->capture_default_str()
      ->group("Server");
  app.add_option("--daemons", values_.server.daemons,
                 "Server threads (default: one per queue, with per_io_daemon two)")
      ->group("Server");
  app.add_option("--max-io", max_io_, "Largest I/O of the device")
      ->type_name("SIZE")
      ->capture_default_str()
      ->group("Server");
  app.add_option("--server-cpus", server_cpus_, "'queue', 'free' or a list such as 0-3")
      ->type_name("queue|free|CPUS")
      ->capture_default_str()
      ->group("Server");
  app.add_flag("--auto-zc-fallback", values_.server.auto_zc_fallback,
               "auto_zc: register by hand where the driver could not")
      ->group("Server");
  add_waiting_options(app, values_.server, "Server");
}

void RunCli::add_output(CLI::App& app) {
  app.add_option("--json", store_.json_path, "Record of the run as one document; - for stdout")
      ->type_name("FILE")
      ->group("Output");
  app.add_option("--out", store_.folder, "Record of the run as run.json and samples.jsonl")
      ->type_name("DIR")
      ->group("Output");
  app.add_option("--format", format_, "Of the table")
      ->type_name("text|json|md|csv")
      ->capture_default_str()
      ->group("Output");
  app.add_flag("--wide", wide_, "All columns, also where the terminal has no room for them")
      ->group("Output");
  app.add_flag("--histograms", histograms_,
               "With --probe: the probes' histograms as pictures, not a line each")
      ->group("Output");
  app.add_flag("--resume", store_.resume, "Go on with the record in --out or --json")
      ->group("Output");
  app.add_flag("--dry-run", dry_run_, "Print the matrix and the estimated time; measure nothing")
      ->group("Output");
}

Result<> RunCli::parse_axes(RunRequest& request) const {
  RunOptions& options = request.options;
  for (const std::string& words : modes_) {
    if (words == "all") {
      request.options.every_mode = true;
      continue;
    }
    const auto mode = parse_mode(words);
    if (!mode) return std::unexpected(mode.error());
    options.modes.push_back(*mode);
  }
  auto depths = axis<unsigned>(depths_, "--qd", parse_depth);
  if (!depths) return std::unexpected(depths.error());
  auto sizes =
      axis<std::uint64_t>(sizes_, "--bs", [](const std::string& t) { return parse_size(t); });
  if (!sizes) return std::unexpected(sizes.error());
  auto patterns = axis<load::Pattern>(patterns_, "--rw",
                                      [](const std::string& t) { return load::parse_pattern(t); });
  if (!patterns) return std::unexpected(patterns.error());
  for (const Axis& axis : all_axes()) {
    if (axis.option.empty() || app_->count(std::string(axis.option)) == 0) continue;
    auto settings = crossed(options.settings, axis, settings_.at(axis.name));
    if (!settings) return std::unexpected(settings.error());
    options.settings = *settings;
  }
  options.depths = *depths;
  options.block_bytes = *sizes;
  options.patterns = *patterns;
  return {};
}

Result<> RunCli::parse_rest(RunRequest& request) const {
  RunOptions& options = request.options;
  if (auto done = load_.finish(options.load, icount_shift() ? default_icount_ios : 0); !done)
    return done;
  if (options.load.ios == 0 && options.load.runtime_ns == 0)
    options.load.runtime_ns = default_runtime_ns;
  if (auto pinned = parse_pinning(server_cpus_, options.server); !pinned) return pinned;
  const auto max_io = parse_size(max_io_);
  if (!max_io) return std::unexpected(max_io.error());
  options.server.max_io_bytes =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(*max_io, UINT32_MAX));
  const auto hang_dump = parse_duration_ns(hang_dump_timeout_);
  if (!hang_dump) return std::unexpected(hang_dump.error());
  options.hang_dump.timeout_ns = *hang_dump;
  const auto verify = parse_verify(verify_);
  if (!verify) return std::unexpected(verify.error());
  options.verify = *verify;
  const auto format = analyzers::parse_format(format_);
  if (!format) return std::unexpected(format.error());
  request.table = {
      .format = *format,
      .probes = histograms_ ? analyzers::ProbeText::histograms : analyzers::ProbeText::brief,
      .width = wide_ ? 0 : analyzers::terminal_width()};
  return {};
}

Result<RunRequest> RunCli::request() const {
  if (auto full = refuse_empty(*app_); !full) return std::unexpected(full.error());
  RunRequest request{.options = values_, .store = store_, .dry_run = dry_run_};
  if (auto parsed = parse_axes(request); !parsed) return std::unexpected(parsed.error());
  if (auto parsed = parse_rest(request); !parsed) return std::unexpected(parsed.error());
  if (auto checked = check_run_words(*app_, request); !checked)
    return std::unexpected(checked.error());
  return request;
}

}  // namespace ublkbench
