// SPDX-License-Identifier: MIT
// Figures that verdicts on bottlenecks rest on: shares and ratios, so that they mean the same on a
// fast machine and under an emulator.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "analyzers/evidence.hpp"
#include "analyzers/record.hpp"

namespace ublkbench::analyzers {

enum class Clue : std::uint8_t {
  server_throttled,
  server_quota_cpus,
  load_throttled,
  load_quota_cpus,
  rate_reached,
  server_busy,
  client_busy,
  cpus_busy,
  in_flight_ios,
  backlog_ios,
  wanted_per_tag,
  tag_waits_per_io,
  target_share,
  wake_share,
  fetch_batch,
  sleeps_per_io,
  longest_wait_s,
  longest_wait_share,
  longest_wait_per_median,
};
inline constexpr std::size_t clue_count = 19;

struct ClueTraits {
  std::string_view name;
  std::string_view meaning;
  bool share;                ///< shown in percent
  std::string_view missing;  ///< what brings it, where a record has it not
};

/// What older records lack.
inline constexpr std::string_view new_record = "a new record: this one is of an older ublkbench";

inline constexpr std::array<ClueTraits, clue_count> clue_traits{{
    {"server_throttled", "of the scheduler's periods the server's cgroup had used up its CPU quota",
     true, new_record},
    {"server_quota_cpus", "CPUs are the quota of the server's cgroup", false, new_record},
    {"load_throttled", "of the scheduler's periods the load's cgroup had used up its CPU quota",
     true, new_record},
    {"load_quota_cpus", "CPUs are the quota of the load's cgroup", false, new_record},
    {"rate_reached", "of the asked --rate", true, ""},
    {"server_busy", "of the window the server's busiest task is on a CPU", true, "--probe wakeups"},
    {"client_busy", "of the window the load's busiest job, or its CPUs, are busy", true, ""},
    {"cpus_busy", "of all CPUs' time goes to server and load", true, "--probe wakeups"},
    {"in_flight_ios", "I/Os in flight on average", false,
     "the kernel's statistics of the device (/sys/block/*/queue/iostats)"},
    {"backlog_ios", "I/Os are due and wait in the load on average: its depth lets no more in",
     false, ""},
    {"wanted_per_tag", "I/Os wanted in flight for each tag of a queue", false, "--probe tags"},
    {"tag_waits_per_io", "waits for a tag per I/O", false, "--probe tags (Linux 7.3)"},
    {"target_share", "of an I/O's time in the driver is its target's", true, "--probe latency"},
    {"wake_share", "of an I/O's time in the driver passes until the server sees it", true,
     "--probe latency"},
    {"fetch_batch", "io commands per fetch", false, "--probe batch"},
    {"sleeps_per_io", "sleeps of the server per I/O", false, "--probe wakeups"},
    {"longest_wait_s", "s that one I/O waited for the server", false, "--probe latency"},
    {"longest_wait_share", "of the window one I/O waited for the server", true, "--probe latency"},
    {"longest_wait_per_median", "times the median of the stage in which it waited", false,
     "--probe latency"},
}};

constexpr const ClueTraits& traits(Clue clue) {
  return clue_traits[static_cast<std::size_t>(clue)];
}

/// The figures of a sample; of what it does not have, what would bring it.
class Clues {
 public:
  void set(Clue clue, std::optional<double> value) { values_[at(clue)] = value; }
  /// For a reason of this sample, where the usual remedy was tried or cannot help.
  void lacks(Clue clue, std::string_view what) { missing_[at(clue)] = what; }

  [[nodiscard]] std::optional<double> value_of(Clue clue) const { return values_[at(clue)]; }
  [[nodiscard]] std::string_view missing(Clue clue) const {
    return missing_[at(clue)].value_or(traits(clue).missing);
  }

 private:
  static constexpr std::size_t at(Clue clue) { return static_cast<std::size_t>(clue); }

  std::array<std::optional<double>, clue_count> values_;
  std::array<std::optional<std::string_view>, clue_count> missing_;
};

Clues clues_of(const Evidence& evidence, const Record& record, const CellRecord& cell);

}  // namespace ublkbench::analyzers
