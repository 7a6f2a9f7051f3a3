// SPDX-License-Identifier: MIT
// What a sample says about where its time went: numbers of the load, of the server and of the
// probes, as the record has them. What they mean together is clues.hpp's business.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "bench/record/sample_record.hpp"

namespace ublkbench::analyzers {

using probed::Stage;

/// A control group's CPU quota; zeros without one.
struct Quota {
  double cpus = 0;
  double throttled_share = 0;  ///< of the scheduler's periods
};

/// Which probes were attached, whatever they saw.
struct ProbesHere {
  bool latency = false;
  bool wakeups = false;
  bool batch = false;
  bool tags = false;
};

/// What was not recorded is empty.
struct Evidence {
  // The load, in its measured window.
  double measured_ios = 0;
  double window_ns = 0;
  double load_cpu_ns = 0;
  double busiest_job_cpu_ns = 0;
  std::optional<double> latency_sum_ns;  ///< in an open loop since each was due

  // The block layer's and the scheduler's own accounts of that window.
  std::optional<double> device_in_flight;
  bool has_quotas = false;  ///< it was looked for them
  Quota server_quota;
  Quota load_quota;

  // The server, in the same window: of one that is not ours only its CPU time.
  std::optional<double> server_cpu_ns;
  std::optional<double> busiest_daemon_cpu_ns;
  std::optional<double> server_sleeps;
  std::optional<double> server_fetch_batch;
  std::optional<double> daemons;
  std::optional<double> queue_tags;  ///< of one queue

  // Probes: in the same window, but for `probed_in_window` false: with warm-up and idle time.
  bool probed_in_window = false;
  ProbesHere probes;
  std::array<std::optional<double>, probed::stages> stage_sum_ns;
  /// Of that of the server's own stages (not target, not complete) in which one I/O was longest.
  std::optional<double> longest_wait_ns;
  std::optional<double> median_wait_ns;
  double unsplit_share = 0;  ///< of the I/Os in the stages: theirs all count as target
  std::optional<double> probed_fetch_batch;
  std::optional<double> tag_waits_per_io;
  std::optional<double> sleeps_per_io;  ///< of all tasks of the server
  std::optional<double> on_cpu_share;   ///< of a CPU, all tasks together
  std::optional<double> busiest_on_cpu_share;
  std::optional<double> on_cpu_ns_per_io;
  std::optional<double> busiest_task_share;  ///< of that time

  [[nodiscard]] bool probed() const {
    return probes.latency || probes.wakeups || probes.batch || probes.tags;
  }
  [[nodiscard]] std::optional<double> stage(Stage stage) const {
    return stage_sum_ns[static_cast<std::size_t>(stage)];
  }
};

/// Of a sample that is good.
Evidence evidence_of(const SampleRecord& sample);

}  // namespace ublkbench::analyzers
