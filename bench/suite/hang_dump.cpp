// SPDX-License-Identifier: MIT
#include "bench/suite/hang_dump.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <format>

#include "bench/suite/program.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

constexpr std::uint64_t longest_age_ns = 2'000'000'000;  // ublk-dump's own default

json none(std::string reason) { return {{"status", "none"}, {"reason", std::move(reason)}}; }

/// A name that no earlier hang has: a run that is resumed keeps its recordings.
std::string free_path(const std::string& prefix) {
  for (unsigned number = 1;; ++number) {
    std::string path = std::format("{}{}.xz", prefix, number);
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return path;
  }
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

json dump_hang(const HangDumpOptions& options, int device, std::uint64_t stuck_ns) {
  if (options.program == "off") return none("--hang-dump off");
  const std::string program = options.program.empty() ? find_program("ublk-dump") : options.program;
  if (program.empty())
    return none("ublk-dump is neither beside ublkbench nor in $PATH; --hang-dump names it");
  const std::string recording = free_path(options.prefix);
  const double age_s = static_cast<double>(std::min(stuck_ns, longest_age_ns)) / 1e9;
  // BTF: a recording needs it, and it is what most machines have.
  const auto output =
      run_program({program, "--json", "--types", "btf", "--dev", std::to_string(device), "--age",
                   std::format("{:.3f}", age_s), "--record", recording},
                  options.timeout_ns);
  if (!output) return none(output.error().message());
  const json dump = json::parse(output->out, nullptr, false);
  if (dump.is_discarded() || !dump.is_object() || !dump.contains("verdict"))
    return none(output->err.empty() ? std::format("{} ended with {}", program, output->exit_code)
                                    : first_line(output->err));
  std::error_code error;
  const bool kept = std::filesystem::exists(recording, error);
  return {{"status", "taken"},
          {"verdict", dump["verdict"].value("line", "")},
          {"recording", kept ? json(recording) : json()},
          {"dump", dump}};
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
