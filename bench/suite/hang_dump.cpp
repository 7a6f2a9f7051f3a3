// SPDX-License-Identifier: MIT
#include "bench/suite/hang_dump.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "bench/base/format.hpp"
#include "bench/process/program.hpp"
#include "bench/record/record_codec.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t longest_age_ns = 2'000'000'000;  // ublk-dump's own default

HangDump none(std::string reason) {
  return {.status = HangDump::Status::none, .reason = std::move(reason)};
}

/// Of what ublk-dump prints, what is told at once: drgn/ublk_drgn/schema/dump.schema.json.
struct Dump {
  struct Verdict {
    std::string line;
    std::string state;

    static constexpr auto fields() {
      return std::tuple(field("line", &Verdict::line), field("state", &Verdict::state));
    }
  };
  Verdict verdict;

  static constexpr auto fields() { return std::tuple(required("verdict", &Dump::verdict)); }
};

/// A name that no earlier hang has: a run that is resumed keeps its recordings.
std::string free_path(const std::string& prefix) {
  for (unsigned number = 1;; ++number) {
    std::string path = formatted("{}{}.xz", prefix, number);
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return path;
  }
}

/// What the dump says beside the watchdog's "hang". It looks a moment later, and at ublk only.
std::string verdict_words(const Dump::Verdict& verdict, int device) {
  constexpr std::string_view nothing = "nothing is stuck; ";
  const std::string& line = verdict.line;
  if (line.starts_with(nothing)) return line.substr(nothing.size());  // "something is slow: ..."
  if (verdict.state != "nothing stuck") return line;
  return formatted(
      "no request of device {} was stuck when it looked: the I/O has gone on since, or waits "
      "elsewhere than in ublk",
      device);
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

Result<> check_hang_dump(const HangDumpOptions& options) {
  if (options.program.empty() || options.program == "off") return {};
  if (::access(options.program.c_str(), X_OK) == 0) return {};
  const int error = errno;
  return std::unexpected(
      failed("--hang-dump", options.program, error, "name ublk-dump, or 'off' to do without")
          .error()
          .with_exit(ExitCode::usage));
}

HangDump dump_hang(const HangDumpOptions& options, int device, std::uint64_t stuck_ns) {
  if (options.program == "off") return none("--hang-dump off");
  const std::string program =
      options.program.empty() ? process::find_program("ublk-dump") : options.program;
  if (program.empty())
    return none("ublk-dump is neither beside ublkbench nor in $PATH; --hang-dump names it");
  const std::string recording = free_path(options.prefix);
  const double age_s = static_cast<double>(std::min(stuck_ns, longest_age_ns)) / 1e9;
  const double slow_s = static_cast<double>(stuck_ns) / 1e9;  // a hang here is not "slow" there
  // BTF: a recording needs it, and it is what most machines have.
  const auto output = process::run_program(
      {program, "--json", "--types", "btf", "--dev", std::to_string(device), "--age",
       formatted("{:.3f}", age_s), "--slow", formatted("{:.3f}", slow_s), "--record", recording},
      options.timeout_ns);
  if (!output) return none(output.error().message());
  const auto dump = record_of_text<Dump>(output->out, "ublk-dump");
  if (!dump)
    return none(output->err.empty() ? formatted("{} ended with {}", program, output->exit_code)
                                    : first_line(output->err));
  std::error_code error;
  const bool kept = std::filesystem::exists(recording, error);
  return {.status = HangDump::Status::taken,
          .verdict = verdict_words(dump->verdict, device),
          .recording = kept ? std::optional(recording) : std::nullopt,
          .dump = {output->out}};
}

int ublk_number(const std::string& block_device) {
  std::error_code error;
  const std::string name = std::filesystem::canonical(block_device, error).filename();
  constexpr std::string_view prefix = "ublkb";
  int number = -1;
  if (!error && name.starts_with(prefix))
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number);
  return number;
}

}  // namespace ublkbench
