// SPDX-License-Identifier: MIT
// The figures that a sample has, by name; and on which of them more is worse.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace ublkbench::analyzers {

enum class Figure : std::uint8_t {
  ns_per_io,
  iops,
  p50_ns,
  p99_ns,
  p999_ns,
  server_cpu_ns,
  load_cpu_ns,
  server_instructions,
  load_instructions,
  total_instructions,
  fetch_batch,
  commit_batch,
  enters,
};
inline constexpr std::size_t figure_count = 13;

enum class Better : std::uint8_t { lower, higher, neither };

struct FigureTraits {
  std::string_view name;
  std::string_view unit;
  Better better;
  std::string_view meaning;
};

inline constexpr std::array<FigureTraits, figure_count> figure_traits{{
    {"ns_per_io", "ns/IO", Better::lower, "length of the measured window per I/O"},
    {"iops", "IOPS", Better::higher, "I/Os per second"},
    {"p50_ns", "ns", Better::lower, "median latency"},
    {"p99_ns", "ns", Better::lower, "99th percentile of latency"},
    {"p999_ns", "ns", Better::lower, "99.9th percentile of latency"},
    {"server_cpu_ns", "ns/IO", Better::lower, "CPU time of the server's threads per I/O"},
    {"load_cpu_ns", "ns/IO", Better::lower, "CPU time of the load's threads per I/O"},
    {"server_instructions", "ins/IO", Better::lower,
     "instructions of the server's threads per I/O, kernel included"},
    {"load_instructions", "ins/IO", Better::lower,
     "instructions of the load's threads per I/O, kernel included"},
    {"total_instructions", "ins/IO", Better::lower, "instructions of the whole guest per I/O"},
    {"fetch_batch", "io commands", Better::neither, "mean size of a fetch batch"},
    {"commit_batch", "io commands", Better::neither, "mean size of a commit batch"},
    {"enters", "per I/O", Better::neither, "io_uring_enter() calls of the server per I/O"},
}};

constexpr const FigureTraits& traits(Figure figure) {
  return figure_traits[static_cast<std::size_t>(figure)];
}

constexpr std::optional<Figure> figure_named(std::string_view name) {
  for (std::size_t at = 0; at < figure_count; ++at)
    if (figure_traits[at].name == name) return static_cast<Figure>(at);
  return std::nullopt;
}

/// A sample's figures; what was not measured is no number.
class Figures {
 public:
  Figures() { values_.fill(std::numeric_limits<double>::quiet_NaN()); }

  void set(Figure figure, double value) { values_[static_cast<std::size_t>(figure)] = value; }
  [[nodiscard]] std::optional<double> get(Figure figure) const {
    const double value = values_[static_cast<std::size_t>(figure)];
    return std::isnan(value) ? std::nullopt : std::optional(value);
  }

 private:
  std::array<double, figure_count> values_;
};

}  // namespace ublkbench::analyzers
