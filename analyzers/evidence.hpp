// SPDX-License-Identifier: MIT
// What a sample says about where its time went: numbers of the load, of the server and of the
// probes, as the record has them. What they mean together is clues.hpp's business.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "analyzers/json_reader.hpp"

namespace ublkbench::analyzers {

/// Stages of a request in docs/probes.md.
enum class Stage : std::uint8_t { dispatch, wake, server, target, commit, complete, total };
inline constexpr std::array<const char*, 7> stage_names{"dispatch", "wake",     "server", "target",
                                                        "commit",   "complete", "total"};

/// What was not recorded is empty.
struct Evidence {
  // The load, in its measured window.
  double measured_ios = 0;
  double window_ns = 0;
  double load_cpu_ns = 0;
  double busiest_job_cpu_ns = 0;
  std::optional<double> latency_sum_ns;

  // Our own server, in the same window.
  std::optional<double> server_cpu_ns;
  std::optional<double> server_sleeps;
  std::optional<double> server_fetch_batch;
  std::optional<double> daemons;
  std::optional<double> queue_tags;  ///< of one queue

  // Probes: the load with its warm-up.
  std::array<std::optional<double>, stage_names.size()> stage_sum_ns;
  /// Of that of the server's own stages (not target, not complete) in which one I/O was longest.
  std::optional<double> longest_wait_ns;
  std::optional<double> median_wait_ns;
  double unsplit_share = 0;  ///< of the I/Os in the stages: theirs all count as target
  std::optional<double> probed_fetch_batch;
  std::optional<double> tag_waits_per_io;
  std::optional<double> sleeps_per_io;  ///< of all tasks of the server
  std::optional<double> on_cpu_ns_per_io;
  std::optional<double> busiest_task_share;  ///< of that time

  [[nodiscard]] std::optional<double> stage(Stage stage) const {
    return stage_sum_ns[static_cast<std::size_t>(stage)];
  }
};

/// Of a sample that is good: `at` complains of what is broken.
Evidence read_evidence(JsonReader& at, const JsonReader::Object& sample);

}  // namespace ublkbench::analyzers
