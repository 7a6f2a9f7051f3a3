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
  rate_reached,
  server_busy,
  client_busy,
  cpus_busy,
  in_flight_ios,
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
inline constexpr std::size_t clue_count = 14;

struct ClueTraits {
  std::string_view name;
  std::string_view meaning;
  bool share;                ///< shown in percent
  std::string_view missing;  ///< what brings it, where a record has it not
};

inline constexpr std::array<ClueTraits, clue_count> clue_traits{{
    {"rate_reached", "of the asked --rate", true, ""},
    {"server_busy", "of the window the server's busiest task is on a CPU", true, "--probe wakeups"},
    {"client_busy", "of the window the load's busiest job, or its CPUs, are busy", true, ""},
    {"cpus_busy", "of all CPUs' time goes to server and load", true, "--probe wakeups"},
    {"in_flight_ios", "I/Os in flight on average", false, "latencies (no --no-latency)"},
    {"wanted_per_tag", "I/Os wanted in flight for each tag of a queue", false, "--probe tags"},
    {"tag_waits_per_io", "waits for a tag per I/O", false, "--probe tags (Linux 7.3)"},
    {"target_share", "of an I/O's time in the driver is its target's", true, "--probe latency"},
    {"wake_share", "of it passes until the server sees the I/O", true, "--probe latency"},
    {"fetch_batch", "io commands per fetch", false, "--probe batch"},
    {"sleeps_per_io", "sleeps of the server per I/O", false, "--probe wakeups"},
    {"longest_wait_s", "s that one I/O waited for the server", false, "--probe latency"},
    {"longest_wait_share", "of the window one I/O waited to be dispatched", true,
     "--probe latency"},
    {"longest_wait_per_median", "times the median of that wait", false, "--probe latency"},
}};

constexpr const ClueTraits& traits(Clue clue) {
  return clue_traits[static_cast<std::size_t>(clue)];
}

/// What a sample does not have is empty.
using Clues = std::array<std::optional<double>, clue_count>;

constexpr std::optional<double> value_of(const Clues& clues, Clue clue) {
  return clues[static_cast<std::size_t>(clue)];
}

Clues clues_of(const Evidence& evidence, const Record& record, const CellRecord& cell);

}  // namespace ublkbench::analyzers
