// SPDX-License-Identifier: MIT
// ublk-load: the load generator by itself, for any block device or file.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "bench/base/atomic_file.hpp"
#include "bench/base/entry.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/base/units.hpp"
#include "bench/cli/help_formatter.hpp"
#include "bench/cli/print_options.hpp"
#include "bench/cli/words.hpp"
#include "bench/load/load.hpp"
#include "bench/load/verify.hpp"
#include "bench/record/tool_identity.hpp"
#include "bench/record/write_fields.hpp"
#include "bench/tools/options/load_cli.hpp"

namespace {

using namespace ublkbench;
using load::LoadOptions;

std::atomic<bool> interrupted{false};
constexpr unsigned patience_s = 2;

struct Arguments {
  LoadOptions load;
  LoadCli load_cli;
  load::VerifyOptions verification;
  bool verify = false;
  bool measure = true;
  bool instructions = false;
  std::string json_file;  // empty: none; "-": standard output
};

constexpr const char* examples = R"(Examples
  4k random reads as fast as the device takes them, for five seconds
      ublk-load /dev/ublkb0
  a fixed number of I/Os at depth 32: the same work each time, for comparisons
      ublk-load /dev/ublkb0 --ios 200k --qd 32
  one I/O at a time: latency rather than throughput
      ublk-load /dev/ublkb0 --qd 1 --runtime 2s
  what users would feel at 20,000 I/Os per second, queueing included (open loop)
      ublk-load /dev/ublkb0 --rate 20k --runtime 10s
  mixed load from two threads on CPUs 2 and 3 (destroys what is on the device)
      ublk-load /dev/ublkb0 --rw randrw --rwmixread 70 --jobs 2 --load-cpus 2,3 --destructive
  the cost per I/O and nothing else
      ublk-load /dev/nullb0 --ios 100k --no-latency --instructions
  does the device keep what it is given? (destroys what is on it)
      ublk-load /dev/ublkb0 --verify --destructive
  all figures for a program
      ublk-load /dev/ublkb0 --json - | jq .report.iops

Exit codes: 0 done, 2 usage, 5 the environment cannot do it, 6 an I/O failed, 7 a hang,
130 interrupted.)";

int fail(const Error& error) {
  say("ublk-load: {}", error.message());
  return static_cast<int>(error.exit);
}

/// A transform for CLI11 that stores what `parse` makes of the word.
template <class Value, class Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& name, Value& value, Parse parse,
                        const std::string& help) {
  return app.add_option_function<std::string>(
      name,
      [&value, parse](const std::string& text) {
        auto parsed = parse(text);
        if (!parsed) throw CLI::ValidationError(parsed.error().message());
        value = static_cast<Value>(*parsed);
      },
      help);
}

void add_load_shape(CLI::App& app, LoadOptions& load) {
  app.add_option("device", load.device, "Block device or regular file")
      ->type_name("PATH")
      ->required();
  add_parsed(app, "--rw", load.pattern, load::parse_pattern,
             "read, write, randread (default), randwrite, rw or randrw")
      ->type_name("PATTERN");
  add_parsed(app, "--bs", load.block_bytes, parse_size, "Size of an I/O, default 4k")
      ->type_name("SIZE");
  app.add_option("--qd,--depth", load.depth, "I/Os in flight per job")->capture_default_str();
  add_parsed(app, "--offset", load.offset, parse_size, "First byte that is used")
      ->type_name("SIZE");
  add_parsed(app, "--size", load.range, parse_size, "Bytes that are used; default to the end")
      ->type_name("SIZE");
  app.add_option("--seed", load.seed, "Of offsets and of data")->capture_default_str();
  app.add_option("--max-errors", load.max_errors, "End the run at this many failed I/Os")
      ->capture_default_str();
  app.add_option("--buffer-file", load.buffer_file,
                 "Keep the data in this file, e.g. on hugetlbfs, so that a server can share it")
      ->type_name("FILE");
}

void add_verification(CLI::App& app, Arguments& arguments) {
  load::VerifyOptions& verification = arguments.verification;
  app.add_flag(
      "--verify", arguments.verify,
      "Check that the device keeps what it is given (destroys what is there); then measure "
      "only if --ios or --runtime is given");
  add_parsed(app, "--verify-size", verification.range, parse_size,
             "Bytes to verify from --offset on, default 16M; 0: the whole device")
      ->type_name("SIZE");
  add_parsed(app, "--verify-writes", verification.random_writes, parse_count,
             "Random writes of the verification, default 2000")
      ->type_name("COUNT");
  app.add_flag("!--stores-nothing", verification.stores_data,
               "The device keeps nothing (a null device): verify completions only");
}

/// Verification takes the path that is measured.
void complete_verification(Arguments& arguments) {
  const LoadOptions& load = arguments.load;
  load::VerifyOptions& verification = arguments.verification;
  verification.device = load.device;
  verification.offset = load.offset;
  verification.fixed_buffers = load.fixed_buffers;
  verification.registered_file = load.registered_file;
  verification.direct = load.direct;
  verification.buffer_file = load.buffer_file;
  verification.seed = load.seed;
  verification.destructive = load.destructive;
  verification.hang_timeout_ns = load.hang_timeout_ns;
  verification.stop = load.stop;
}

/// Words that do nothing: of the load where nothing is measured, of verification without it.
Result<> check_words(const CLI::App& app, const Arguments& arguments) {
  const LoadOptions& load = arguments.load;
  std::vector<Idle> rows = all_idle({"--verify-size", "--verify-writes", "--stores-nothing"},
                                    !arguments.verify, "--verify is not given");
  std::ranges::move(
      all_idle({"--rw", "--rwmixread", "--bs", "--qd", "--submit-batch", "--complete-batch",
                "--jobs", "--load-cpus", "--size", "--warmup", "--rate", "--max-errors", "--hipri",
                "--latency", "--allow-split", "--instructions"},
               !arguments.measure,
               "--verify alone measures nothing; --ios or --runtime make it measure"),
      std::back_inserter(rows));
  rows.push_back({"--rwmixread", !is_mixed(load.pattern), "--rw is neither rw nor randrw"});
  return refuse_idle(app, rows);
}

std::optional<int> parse_arguments(Arguments& arguments, int argc, char** argv) {
  CLI::App app{
      "Puts a load on a block device through io_uring; reports IOPS, latency, batches, CPU per "
      "I/O.",
      "ublk-load"};
  app.formatter(std::make_shared<HelpFormatter>());
  app.footer(examples);
  app.set_version_flag("--version", version_text());
  add_print_options(app, {{"PATTERN", load::pattern_words()}});
  add_load_shape(app, arguments.load);
  arguments.load_cli.add_options(app, arguments.load, "5s",
                                 "Allow writes: they destroy what is there");
  add_verification(app, arguments);
  app.add_flag(
      "--instructions", arguments.instructions,
      "Print the load's instructions per I/O: under QEMU's -icount (UBLKBENCH_ICOUNT_SHIFT) "
      "from CPU time, else from a hardware counter");
  app.add_option("--json", arguments.json_file, "Write options and results as JSON; - for stdout")
      ->type_name("FILE");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return static_cast<int>(ExitCode::usage);
  }
  if (const auto checked = refuse_empty(app); !checked) return fail(checked.error());
  if (const auto finished = arguments.load_cli.finish(arguments.load, 0); !finished)
    return fail(finished.error());
  const bool work_given = arguments.load.ios != 0 || arguments.load.runtime_ns != 0;
  arguments.measure = work_given || !arguments.verify;
  if (const auto checked = check_words(app, arguments); !checked) return fail(checked.error());
  if (!work_given) arguments.load.runtime_ns = 5'000'000'000;
  complete_verification(arguments);
  return {};
}

/// Instructions per I/O of the load's threads, user and kernel, and how they were counted.
struct InstructionCount {
  std::optional<double> per_io;
  std::string source;
};

InstructionCount count_instructions(const LoadReport& report) {
  if (report.measured_ios == 0) return {{}, "nothing was measured"};
  const auto ios = static_cast<double>(report.measured_ios);
  if (const char* shift = std::getenv("UBLKBENCH_ICOUNT_SHIFT")) {
    // QEMU -icount shift=N: one guest instruction takes 2^N ns of guest time.
    const std::uint64_t instructions = report.usage.cpu_ns >> std::strtoul(shift, nullptr, 10);
    return {static_cast<double>(instructions) / ios, "icount"};
  }
  if (report.usage.instructions)
    return {static_cast<double>(*report.usage.instructions) / ios, "hardware counter"};
  return {{}, "not available: no hardware counter, not under icount"};
}

nlohmann::json options_json(const LoadOptions& load) {
  return {{"device", load.device},
          {"pattern", name_of(load.pattern)},
          {"rw_mix_read_percent", load.rw_mix_read_percent},
          {"block_bytes", load.block_bytes},
          {"depth", load.depth},
          {"submit_batch", load.effective_submit_batch()},
          {"complete_batch", load.effective_complete_batch()},
          {"jobs", load.jobs},
          {"job_cpus", load.job_cpus},
          {"fixed_buffers", load.fixed_buffers},
          {"registered_file", load.registered_file},
          {"direct", load.direct},
          {"hipri", load.hipri},
          {"buffer_file", load.buffer_file},
          {"ios", load.ios},
          {"runtime_ns", load.runtime_ns},
          {"rate_iops", load.rate_iops},
          {"record_latency", load.record_latency},
          {"seed", load.seed},
          {"offset_bytes", load.offset},
          {"range_bytes", load.range}};
}

Result<> write_json(const std::string& file, const nlohmann::json& document) {
  const std::string text = json_text(document, 2) + '\n';
  return file == "-" ? write_to_stdout(text) : write_file_atomically(file, text);
}

/// Runs the load and adds its results to the document.
Result<ExitCode> measure(const Arguments& arguments, std::FILE* text, nlohmann::json& document) {
  const auto report = load::run_load(arguments.load);
  if (!report) return std::unexpected(report.error());
  const InstructionCount instructions = count_instructions(*report);
  std::fprintf(text, "%s\n", load::to_text(*report).c_str());
  if (arguments.instructions) {
    const std::string figure =
        instructions.per_io ? formatted("{:.0f} per I/O", *instructions.per_io) : "-";
    std::fprintf(text, "%-10s%s (%s)\n", "instr.", figure.c_str(), instructions.source.c_str());
  }
  document["options"] = options_json(arguments.load);
  document["report"] = to_json(*report);
  if (instructions.per_io)
    document["instructions"] = {{"per_io", *instructions.per_io}, {"source", instructions.source}};
  return report->exit_code();
}

Result<ExitCode> verify(const Arguments& arguments, std::FILE* text, nlohmann::json& document) {
  const auto report = load::verify_device(arguments.verification);
  if (!report) return std::unexpected(report.error());
  std::fprintf(text, "%s\n", load::to_text(*report).c_str());
  if (arguments.verification.stores_data && report->kept_hardly_anything())
    std::fprintf(text, "%-10s%s\n", "hint",
                 "a device that is to keep nothing (null) is checked with --stores-nothing");
  document["verify"] = to_json(*report);
  return report->exit_code();
}

int run(const Arguments& arguments) {
  std::FILE* const text = arguments.json_file == "-" ? stderr : stdout;
  nlohmann::json document{{"schema", "ublkbench.load/1"}};
  Result<ExitCode> code = ExitCode::ok;
  if (arguments.verify) code = verify(arguments, text, document);
  if (arguments.measure && code && *code == ExitCode::ok) code = measure(arguments, text, document);
  if (!code) return fail(code.error());
  if (!arguments.json_file.empty())
    if (const auto written = write_json(arguments.json_file, document); !written)
      return fail(written.error());
  return static_cast<int>(*code);
}

/// The load ends by itself and reports how far it came; a device that does not give back what is in
/// flight, or a set-up that takes its time, must not keep the user.
void interrupt(int /*signal*/) {
  interrupted.store(true, std::memory_order_relaxed);
  ::alarm(patience_s);
}

void give_up(int /*signal*/) {
  constexpr std::string_view why =
      "ublk-load: stopped without a report: the set-up, or what is in flight, takes too long\n";
  (void)!::write(STDERR_FILENO, why.data(), why.size());
  ::_exit(static_cast<int>(ExitCode::interrupted));
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  return enter("ublk-load", argc, argv, [&] {
    Arguments arguments;
    arguments.load.stop = &interrupted;
    if (const auto code = parse_arguments(arguments, argc, argv)) return *code;
    handle(SIGALRM, give_up);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) handle(signal, interrupt);
    return run(arguments);
  });
}
