// SPDX-License-Identifier: MIT
#include "bench/suite/estimate.hpp"

#include <algorithm>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr std::uint64_t start_stop_ns = second_ns / 2;
// Guesses that emulation needs and hardware beats: for each I/O, and for each of its bytes.
constexpr std::uint64_t io_ns = 20'000;
constexpr std::uint64_t byte_ns = 1;
constexpr std::uint64_t gigabyte = 1ULL << 30;

std::string duration(std::uint64_t ns) {
  const std::uint64_t seconds = (ns + second_ns - 1) / second_ns;
  if (seconds < 120) return formatted("{} s", seconds);
  if (seconds < 7200) return formatted("{} min", (seconds + 59) / 60);
  return formatted("{:.1f} h", static_cast<double>(seconds) / 3600);
}

}  // namespace

Estimate estimate_of(const RunOptions& options, const Cell& cell) {
  const load::LoadOptions load = load_options(options, cell, cell.target);
  if (load.runtime_ns != 0)
    return {.ns = load.runtime_ns + load.warmup_ns + start_stop_ns, .bytes = 0};
  const double ios = static_cast<double>(load.ios + load.effective_warmup_ios());
  const double bytes = ios * static_cast<double>(cell.block_bytes);
  double ns = ios * io_ns + bytes * byte_ns;
  if (load.rate_iops != 0) ns = std::max(ns, ios * second_ns / static_cast<double>(load.rate_iops));
  constexpr double most = 1e15;  // so that thousands of them have a sum
  return {.ns = static_cast<std::uint64_t>(std::min(ns, most)) + start_stop_ns,
          .bytes = static_cast<std::uint64_t>(std::min(bytes, most))};
}

Estimate estimate_of(const RunOptions& options, const Plan& plan) {
  Estimate all;
  for (const Cell& cell : plan.cells) {
    const Estimate one = estimate_of(options, cell);
    all.ns += one.ns * plan.rounds.size();
    all.bytes += one.bytes * plan.rounds.size();
  }
  return all;
}

std::string in_words(const Estimate& estimate) {
  std::string text = "about " + duration(estimate.ns);
  if (estimate.bytes > gigabyte)
    text += formatted(", moving about {} G of data", (estimate.bytes + gigabyte - 1) / gigabyte);
  return text;
}

}  // namespace ublkbench
