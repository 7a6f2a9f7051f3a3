// SPDX-License-Identifier: MIT
// The figures of a sample: one table says what each is called, how a sample gives it, which way
// is better and how it prints. Records, tables, compare, trend and gate ask it.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "bench/base/percentile.hpp"
#include "bench/record/sample_record.hpp"

namespace ublkbench::analyzers {

enum class Figure : std::uint8_t {
  ns_per_io,
  iops,
  device_read_ratio,
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
  server_sleeps,
  shared_memory_hit_ratio,
};
inline constexpr std::size_t figure_count = 16;

enum class Better : std::uint8_t { lower, higher, neither };

struct FigureTraits {
  std::string_view name;
  std::string_view unit;
  Better better;
  std::string_view meaning;
  std::string_view title;  ///< of its column in a run's table; empty: it has none there
  /// For people: "193.2k", "5.18 us", "4236", "34.0", "0.03", "97.3%".
  enum class Print : std::uint8_t { count, time, whole, tenths, hundredths, percent } print;
  unsigned rank;  ///< columns with a higher one go first where a terminal is too narrow
  /// Nothing where a sample has none.
  std::optional<double> (*of)(const SampleRecord& sample);
  double percent = 0;  ///< of a percentile
};

using Print = FigureTraits::Print;

namespace read_figure {

using Value = std::optional<double>;

inline Value ratio(Value amount, double of) {
  return amount && of > 0 ? Value(*amount / of) : std::nullopt;
}
template <class Part>
Value number(const std::optional<Part>& value) {
  return value ? Value(static_cast<double>(*value)) : std::nullopt;
}
inline double ios(const SampleRecord& sample) {
  return sample.load ? static_cast<double>(sample.load->measured_ios) : 0;
}
/// Of a sample that has a server of ours.
template <std::uint64_t ServerUsage::* count>
Value of_server(const SampleRecord& sample) {
  return sample.server ? Value(static_cast<double>((*sample.server).*count)) : std::nullopt;
}
template <EventSizes ServerUsage::* sizes>
Value mean_of_server(const SampleRecord& sample) {
  return sample.server ? Value(((*sample.server).*sizes).mean()) : std::nullopt;
}
template <double Distribution::* percentile>
Value latency(const SampleRecord& sample) {
  if (!sample.load || !sample.load->latency_ns) return std::nullopt;
  return (*sample.load->latency_ns).*percentile;
}
template <std::optional<double> PerIo::* figure>
Value per_io(const SampleRecord& sample) {
  return sample.per_io ? (*sample.per_io).*figure : std::nullopt;
}
inline Value ns_per_io(const SampleRecord& sample) {
  return sample.load ? Value(sample.load->ns_per_io()) : std::nullopt;
}
inline Value iops(const SampleRecord& sample) {
  return sample.load ? Value(sample.load->iops()) : std::nullopt;
}
inline Value from_device(const SampleRecord& sample) {
  if (!sample.page_cache) return std::nullopt;
  return ratio(number(sample.page_cache->device_read_bytes),
               static_cast<double>(sample.page_cache->load_read_bytes));
}
inline Value enters(const SampleRecord& sample) {
  return ratio(of_server<&ServerUsage::enters>(sample), ios(sample));
}
inline Value server_sleeps(const SampleRecord& sample) {
  return ratio(of_server<&ServerUsage::voluntary_switches>(sample), ios(sample));
}
inline Value shared_memory_hits(const SampleRecord& sample) {
  const Value hits = of_server<&ServerUsage::shared_memory_hits>(sample);
  const Value misses = of_server<&ServerUsage::shared_memory_misses>(sample);
  return ratio(hits, hits.value_or(0) + misses.value_or(0));
}

}  // namespace read_figure

inline constexpr std::array<FigureTraits, figure_count> figure_traits{{
    {.name = "ns_per_io",
     .unit = "ns/IO",
     .better = Better::lower,
     .meaning = "length of the measured window per I/O",
     .title = "",
     .print = Print::time,
     .rank = 0,
     .of = read_figure::ns_per_io},
    {.name = "iops",
     .unit = "IOPS",
     .better = Better::higher,
     .meaning = "I/Os per second",
     .title = "IOPS",
     .print = Print::count,
     .rank = 0,
     .of = read_figure::iops},
    {.name = "device_read_ratio",
     .unit = "ratio",
     .better = Better::neither,
     .meaning = "part of what was read that the device gave",
     .title = "from-dev",
     .print = Print::percent,
     .rank = 1,
     .of = read_figure::from_device},
    {.name = "p50_ns",
     .unit = "ns",
     .better = Better::lower,
     .meaning = "median latency",
     .title = "p50",
     .print = Print::time,
     .rank = 2,
     .of = read_figure::latency<&Distribution::p50>,
     .percent = 50},
    {.name = "p99_ns",
     .unit = "ns",
     .better = Better::lower,
     .meaning = "99th percentile of latency",
     .title = "p99",
     .print = Print::time,
     .rank = 2,
     .of = read_figure::latency<&Distribution::p99>,
     .percent = 99},
    {.name = "p999_ns",
     .unit = "ns",
     .better = Better::lower,
     .meaning = "99.9th percentile of latency",
     .title = "p99.9",
     .print = Print::time,
     .rank = 5,
     .of = read_figure::latency<&Distribution::p999>,
     .percent = 99.9},
    {.name = "server_cpu_ns",
     .unit = "ns/IO",
     .better = Better::lower,
     .meaning = "CPU time of the server's threads per I/O",
     .title = "srv-ns/IO",
     .print = Print::whole,
     .rank = 2,
     .of = read_figure::per_io<&PerIo::server_cpu_ns>},
    {.name = "load_cpu_ns",
     .unit = "ns/IO",
     .better = Better::lower,
     .meaning = "CPU time of the load's threads per I/O",
     .title = "load-ns/IO",
     .print = Print::whole,
     .rank = 3,
     .of = read_figure::per_io<&PerIo::load_cpu_ns>},
    {.name = "server_instructions",
     .unit = "ins/IO",
     .better = Better::lower,
     .meaning = "instructions of the server's threads per I/O, kernel included",
     .title = "srv-ins/IO",
     .print = Print::whole,
     .rank = 1,
     .of = read_figure::per_io<&PerIo::server_instructions>},
    {.name = "load_instructions",
     .unit = "ins/IO",
     .better = Better::lower,
     .meaning = "instructions of the load's threads per I/O, kernel included",
     .title = "load-ins/IO",
     .print = Print::whole,
     .rank = 1,
     .of = read_figure::per_io<&PerIo::load_instructions>},
    {.name = "total_instructions",
     .unit = "ins/IO",
     .better = Better::lower,
     .meaning = "instructions of the whole guest per I/O",
     .title = "all-ins/IO",
     .print = Print::whole,
     .rank = 1,
     .of = read_figure::per_io<&PerIo::total_instructions>},
    {.name = "fetch_batch",
     .unit = "io commands",
     .better = Better::neither,
     .meaning = "mean size of a fetch batch",
     .title = "fetch",
     .print = Print::tenths,
     .rank = 4,
     .of = read_figure::mean_of_server<&ServerUsage::fetch_batch>},
    {.name = "commit_batch",
     .unit = "io commands",
     .better = Better::neither,
     .meaning = "mean size of a commit batch",
     .title = "commit",
     .print = Print::tenths,
     .rank = 4,
     .of = read_figure::mean_of_server<&ServerUsage::commit_batch>},
    {.name = "enters",
     .unit = "per I/O",
     .better = Better::neither,
     .meaning = "io_uring_enter() calls of the server per I/O",
     .title = "enters/IO",
     .print = Print::hundredths,
     .rank = 5,
     .of = read_figure::enters},
    {.name = "server_sleeps",
     .unit = "per I/O",
     .better = Better::neither,
     .meaning = "times that a thread of the server went to sleep, per I/O",
     .title = "sleeps/IO",
     .print = Print::hundredths,
     .rank = 5,
     .of = read_figure::server_sleeps},
    {.name = "shared_memory_hit_ratio",
     .unit = "ratio",
     .better = Better::neither,
     .meaning = "part of the I/Os whose data the driver found in the shared memory",
     .title = "shm-hits",
     .print = Print::percent,
     .rank = 4,
     .of = read_figure::shared_memory_hits},
}};

static_assert(figure_traits.back().of != nullptr, "a row for each figure");

constexpr const FigureTraits& traits(Figure figure) {
  return figure_traits[static_cast<std::size_t>(figure)];
}

constexpr std::optional<Figure> figure_named(std::string_view name) {
  for (std::size_t at = 0; at < figure_count; ++at)
    if (figure_traits[at].name == name) return static_cast<Figure>(at);
  return std::nullopt;
}

/// How many I/Os of a sample the figure needs to enter a verdict; 0 of one that is no percentile.
constexpr std::uint64_t ios_needed(Figure figure) {
  return traits(figure).percent > 0 ? values_needed(traits(figure).percent) : 0;
}

/// A value of the figure for people.
std::string print(Figure figure, double value);

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
