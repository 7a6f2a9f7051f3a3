// SPDX-License-Identifier: MIT
// What a run of the load found: plain values, written as JSON and read back from it (a caller that
// runs the load in a child process gets it through a pipe).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/histogram.hpp"
#include "bench/base/result.hpp"
#include "bench/load/thread_usage.hpp"

namespace ublkbench::load {

/// Why the run ended.
enum class Ending {
  completed,  ///< the work was done
  stopped,    ///< LoadOptions::stop was set
  errors,     ///< max_errors was reached
  hang        ///< I/Os stopped completing
};
std::string_view name_of(Ending ending);

/// One I/O of the load.
struct IoRef {
  unsigned job = 0;
  std::uint64_t offset = 0;  ///< in bytes
  bool write = false;
};

struct IoError {
  IoRef io;
  int errnum = 0;
};

struct StuckIo {
  IoRef io;
  /// Since submission (or since it was due) when instants are known; without latency recording:
  /// since its job last saw a completion, which is a lower bound.
  std::uint64_t age_ns = 0;
};

struct HangReport {
  std::uint64_t quiet_ns = 0;  ///< how long nothing had completed when the run was given up
  std::vector<StuckIo> outstanding;
  unsigned unreachable_jobs = 0;  ///< threads stuck inside the kernel; their I/Os are not listed
};

struct LoadReport {
  Ending ending = Ending::completed;

  // The measured window. With fixed work measured_ios is exactly what was asked for when the run
  // completed without errors; failed I/Os are never in it.
  std::uint64_t measured_ios = 0;
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes = 0;
  std::uint64_t window_begin_ns = 0;  ///< CLOCK_MONOTONIC
  std::uint64_t window_ns = 0;
  std::uint64_t warmup_ios = 0;  ///< completed before the window
  /// How long a third of the measured I/Os took, at the rate of the first and of the last third of
  /// the window; 0 when unknown. They differ when the device was not in a steady state.
  std::uint64_t first_third_ns = 0;
  std::uint64_t last_third_ns = 0;

  // Of the whole run, warm-up and drain included.
  std::uint64_t errors = 0;
  std::uint64_t short_ios = 0;  ///< completed with fewer bytes than asked for
  std::optional<IoError> first_error;

  bool latency_recorded = false;
  Histogram read_latency_ns;
  Histogram write_latency_ns;

  // Per io_uring_enter() inside the window.
  Histogram submit_batch;    ///< new I/Os per enter
  Histogram complete_batch;  ///< completions found after an enter
  std::uint64_t enters = 0;

  ThreadUsage usage;  ///< of the job threads inside the window
  std::vector<ThreadUsage> usage_per_job;

  std::optional<HangReport> hang;
  std::vector<std::string> remarks;

  [[nodiscard]] double iops() const;
  [[nodiscard]] double ns_per_io() const;
  [[nodiscard]] Histogram latency_ns() const;  ///< reads and writes together
  /// ExitCode::ok, io, hang or interrupted.
  [[nodiscard]] ExitCode exit_code() const;

  [[nodiscard]] nlohmann::json to_json() const;
  static Result<LoadReport> from_json(const nlohmann::json& json);
};

/// A few lines for people, without a final newline.
std::string to_text(const LoadReport& report);
std::string to_text(const HangReport& hang);
/// "read at byte 8192 failed: Input/output error"; errnum 0 is a short one.
std::string describe(const IoError& error);
nlohmann::json to_json(const IoError& error);
nlohmann::json to_json(const HangReport& hang);

}  // namespace ublkbench::load
