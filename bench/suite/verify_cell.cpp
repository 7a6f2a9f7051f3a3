// SPDX-License-Identifier: MIT
#include "bench/suite/verify_cell.hpp"

#include <algorithm>
#include <atomic>

#include "bench/load/verify.hpp"
#include "bench/suite/child.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

constexpr std::uint64_t timeout_ns = 300'000'000'000;

/// The I/O travels as the measured load's does.
load::VerifyOptions options_for(const RunOptions& run, const Cell& cell, const std::string& path,
                                const std::string& buffer_file) {
  load::VerifyOptions options;
  options.buffer_file = buffer_file;
  options.fixed_buffers = run.load.fixed_buffers;
  options.registered_file = run.load.registered_file;
  options.direct = run.load.direct;
  options.device = path;
  options.destructive = true;
  options.stores_data = !cell.target.starts_with("null");
  options.depth = std::min(cell.depth, options.depth);
  if (std::ranges::find(options.sizes, cell.block_bytes) == options.sizes.end())
    options.sizes.push_back(cell.block_bytes);
  return options;
}

json outcome_of(const load::VerifyReport& report, bool stores_data) {
  json outcome = {{"status", report.passed() ? "passed" : "failed"},
                  {"checked", stores_data ? "contents" : "completions"},
                  {"report", report.to_json()}};
  if (report.passed()) return outcome;
  if (report.ending == load::Ending::stopped) outcome["status"] = "interrupted";
  outcome["reason"] = load::to_text(report);
  outcome["exit"] = static_cast<int>(report.exit_code());
  return outcome;
}

}  // namespace

Result<json> verify_cell(const RunOptions& run, const Cell& cell, const std::string& path,
                         const std::string& buffer_file) {
  return run_in_child(
      [&](const std::atomic<bool>& stop) -> Result<json> {
        load::VerifyOptions options = options_for(run, cell, path, buffer_file);
        options.stop = &stop;
        auto report = load::verify_device(options);
        if (!report) return std::unexpected(report.error());
        return outcome_of(*report, options.stores_data);
      },
      timeout_ns);
}

}  // namespace ublkbench
