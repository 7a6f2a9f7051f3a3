// SPDX-License-Identifier: MIT
// The latency probe's histograms as they are at one moment, and what they gained between two.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "bench/base/fd.hpp"
#include "bench/base/histogram.hpp"
#include "bench/base/result.hpp"
#include "probes/latency.h"

struct bpf_map;

namespace ublkbench::probes {

using Stages = std::array<Histogram, LATENCY_STAGES>;

/// By place in their map; without those of which nothing was counted.
using StageCounts = std::map<unsigned, std::unique_ptr<latency_stages>>;

/// The I/Os that are in them.
std::uint64_t ios_in(const StageCounts& counts);

struct LatencyCounts {
  StageCounts by_size;
  StageCounts by_queue;
  latency_totals totals{};
  std::uint64_t in_flight_ios = 0;  ///< then; no difference
  std::uint64_t requests = 0;
  std::uint64_t missed_runs = 0;
};

LatencyCounts operator-(const LatencyCounts& later, const LatencyCounts& earlier);

/// Of what came in between, least and greatest are exact where they are those of all, else those of
/// their slots.
latency_histogram minus_histogram(const latency_histogram& later, const latency_histogram& earlier);

Stages histograms_of(const latency_stages& counted);

/// A map of latency_stages, mapped: most are empty, and to copy each costs more than the load may
/// notice.
class MappedStages {
 public:
  static Result<MappedStages> open(const bpf_map* map, unsigned elements);

  [[nodiscard]] StageCounts read() const;

 private:
  Mapping mapping_;
  unsigned elements_ = 0;
};

}  // namespace ublkbench::probes
