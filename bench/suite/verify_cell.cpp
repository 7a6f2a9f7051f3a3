// SPDX-License-Identifier: MIT
#include "bench/suite/verify_cell.hpp"

#include <algorithm>
#include <atomic>

#include "bench/load/verify.hpp"
#include "bench/record/record_codec.hpp"
#include "bench/suite/child.hpp"
#include "bench/suite/writing.hpp"

namespace ublkbench {
namespace {

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
  options.destructive = may_write(run, cell);
  options.stores_data = cell.data.owner != DataOwner::none;
  options.depth = std::min(cell.depth, options.depth);
  if (std::ranges::find(options.sizes, cell.block_bytes) == options.sizes.end())
    options.sizes.push_back(cell.block_bytes);
  return options;
}

Verification outcome_of(const load::VerifyReport& report, bool stores_data) {
  using enum Verification::Status;
  Verification outcome{
      .status = report.passed()                    ? passed
                : report.ending == Ending::stopped ? interrupted
                                                   : failed,
      .checked = stores_data ? Verification::Checked::contents : Verification::Checked::completions,
      .report = {record_text(report)}};
  if (report.passed()) return outcome;
  outcome.reason = load::to_text(report);
  if (report.kept_hardly_anything())
    *outcome.reason += "; if the device is to keep nothing (null), leave --verify off";
  outcome.exit = static_cast<int>(report.exit_code());
  return outcome;
}

}  // namespace

Result<Verification> verify_cell(const RunOptions& run, const Cell& cell, const std::string& path,
                                 const std::string& buffer_file) {
  return run_in_child<Verification>(
      [&](const std::atomic<bool>& stop) -> Result<Verification> {
        load::VerifyOptions options = options_for(run, cell, path, buffer_file);
        options.stop = &stop;
        auto report = load::verify_device(options);
        if (!report) return std::unexpected(report.error());
        return outcome_of(*report, options.stores_data);
      },
      timeout_ns);
}

}  // namespace ublkbench
