// SPDX-License-Identifier: MIT
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "bench/base/units.hpp"
#include "bench/load/verify.hpp"

namespace ublkbench::load {
namespace {

using nlohmann::json;

json json_of(const BlockIdentity& identity) {
  return {{"device", identity.device},
          {"offset_bytes", identity.offset},
          {"run", identity.run},
          {"write", identity.write},
          {"generation", identity.generation},
          {"position", identity.position},
          {"length", identity.length}};
}

json json_of(const Failure& failure) {
  json object{{"fault", name_of(failure.fault)},
              {"offset_bytes", failure.offset},
              {"expected", json_of(failure.expected)},
              {"sentence", failure.sentence}};
  if (failure.found) object["found"] = json_of(*failure.found);
  return object;
}

}  // namespace

std::uint64_t VerifyReport::bad_blocks() const {
  return std::accumulate(faults.begin(), faults.end(), std::uint64_t{0});
}

bool VerifyReport::passed() const { return ending == Ending::completed && bad_blocks() == 0; }

ExitCode VerifyReport::exit_code() const {
  if (ending == Ending::hang) return ExitCode::hang;
  if (errors != 0 || bad_blocks() != 0) return ExitCode::io;
  return ending == Ending::stopped ? ExitCode::interrupted : ExitCode::ok;
}

json VerifyReport::to_json() const {
  json counts = json::object();
  for (std::size_t fault = 0; fault < fault_count; ++fault)
    counts[name_of(static_cast<Fault>(fault))] = faults[fault];
  json object{{"passed", passed()},
              {"ending", name_of(ending)},
              {"range_bytes", range_bytes},
              {"block_bytes", block_bytes},
              {"writes", writes},
              {"written_bytes", written_bytes},
              {"reads", reads},
              {"read_bytes", read_bytes},
              {"checked_blocks", checked_blocks},
              {"duration_ns", duration_ns},
              {"errors", errors},
              {"faults", std::move(counts)},
              {"failures", json::array()}};
  for (const Failure& failure : failures) object["failures"].push_back(json_of(failure));
  if (first_error) object["first_error"] = load::to_json(*first_error);
  if (hang) object["hang"] = load::to_json(*hang);
  return object;
}

std::string to_text(const VerifyReport& report) {
  const char* const verdict = report.passed()                    ? "passed"
                              : report.ending == Ending::stopped ? "interrupted"
                                                                 : "FAILED";
  std::string text = std::format(
      "{:<10}{}: {} blocks of {} checked; {} writes, {} reads over {} in {}", "verify", verdict,
      report.checked_blocks, report.block_bytes, report.writes, report.reads,
      format_size(report.range_bytes), format_ns(static_cast<double>(report.duration_ns)));
  if (report.bad_blocks() != 0) {
    text += std::format("\n{:<10}", "bad");
    const char* separator = "";
    for (std::size_t fault = 0; fault < fault_count; ++fault) {
      if (report.faults[fault] == 0) continue;
      text += std::format("{}{} {}", std::exchange(separator, ", "), report.faults[fault],
                          name_of(static_cast<Fault>(fault)));
    }
  }
  constexpr std::size_t shown = 8;
  for (std::size_t i = 0; i < std::min(shown, report.failures.size()); ++i)
    text += std::format("\n{:<10}{}", "", report.failures[i].sentence);
  if (report.failures.size() > shown)
    text += std::format("\n{:<10}and more; --json has {}", "", report.failures.size());
  if (report.first_error)
    text += std::format("\n{:<10}{}, the first: {}", "errors", report.errors,
                        describe(*report.first_error));
  if (report.hang) text += "\n" + to_text(*report.hang);
  return text;
}

}  // namespace ublkbench::load
