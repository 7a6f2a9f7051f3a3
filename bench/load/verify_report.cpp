// SPDX-License-Identifier: MIT
#include <algorithm>
#include <numeric>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/load/verify.hpp"

namespace ublkbench::load {

std::uint64_t VerifyReport::bad_blocks() const {
  return std::accumulate(faults.begin(), faults.end(), std::uint64_t{0});
}

bool VerifyReport::passed() const { return ending == Ending::completed && bad_blocks() == 0; }

bool VerifyReport::kept_hardly_anything() const { return 2 * bad_blocks() > checked_blocks; }

ExitCode VerifyReport::exit_code() const {
  if (ending == Ending::hang) return ExitCode::hang;
  if (errors != 0 || bad_blocks() != 0) return ExitCode::io;
  return ending == Ending::stopped ? ExitCode::interrupted : ExitCode::ok;
}

std::map<std::string, std::uint64_t> VerifyReport::fault_counts() const {
  std::map<std::string, std::uint64_t> counts;
  for (std::size_t fault = 0; fault < fault_count; ++fault)
    counts[std::string(name_of(static_cast<Fault>(fault)))] = faults[fault];
  return counts;
}

std::string to_text(const VerifyReport& report) {
  const char* const verdict = report.passed()                    ? "passed"
                              : report.ending == Ending::stopped ? "interrupted"
                                                                 : "FAILED";
  std::string text = formatted(
      "{:<10}{}: {} blocks of {} checked; {} writes, {} reads over {} in {}", "verify", verdict,
      report.checked_blocks, report.block_bytes, report.writes, report.reads,
      format_size(report.range_bytes), format_ns(static_cast<double>(report.duration_ns)));
  if (report.bad_blocks() != 0) {
    text += formatted("\n{:<10}", "bad");
    const char* separator = "";
    for (std::size_t fault = 0; fault < fault_count; ++fault) {
      if (report.faults[fault] == 0) continue;
      text += formatted("{}{} {}", std::exchange(separator, ", "), report.faults[fault],
                        name_of(static_cast<Fault>(fault)));
    }
  }
  constexpr std::size_t shown = 8;
  for (std::size_t i = 0; i < std::min(shown, report.failures.size()); ++i)
    text += formatted("\n{:<10}{}", "", report.failures[i].sentence);
  if (report.failures.size() > shown)
    text += formatted("\n{:<10}and more; --json has {}", "", report.failures.size());
  if (report.first_error)
    text += formatted("\n{:<10}{}, the first: {}", "errors", report.errors,
                      report.first_error->message());
  if (report.hang) text += "\n" + to_text(*report.hang);
  return text;
}

}  // namespace ublkbench::load
