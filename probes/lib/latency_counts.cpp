// SPDX-License-Identifier: MIT
#include "probes/lib/latency_counts.hpp"

#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "probes/lib/edges.hpp"

namespace ublkbench::probes {
namespace {

static_assert(LATENCY_SLOTS == LOG_LINEAR_SLOTS);
// The kernel rounds up elements of an array (array_map_alloc(), kernel/bpf/arraymap.c).
static_assert(sizeof(latency_stages) % 8 == 0);

std::uint64_t ios_of(const latency_stages& counted) {
  const auto& slots = counted.stages[LATENCY_TOTAL].slots;
  return std::accumulate(std::begin(slots), std::end(slots), std::uint64_t{0});
}

StageCounts minus_stages(const StageCounts& later, const StageCounts& earlier) {
  StageCounts counts;
  for (const auto& [place, stages] : later) {
    const auto before = earlier.find(place);
    auto rest = std::make_unique<latency_stages>(*stages);
    if (before != earlier.end())
      for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage)
        rest->stages[stage] = minus_histogram(stages->stages[stage], before->second->stages[stage]);
    if (ios_of(*rest) != 0) counts.emplace(place, std::move(rest));
  }
  return counts;
}

Histogram histogram_of(const latency_histogram& counted) {
  return Histogram::of({std::begin(counted.slots), std::end(counted.slots)}, counted.sum_ns,
                       counted.min_ns == 0 ? 0 : counted.min_ns - 1, counted.max_ns);
}

}  // namespace

latency_histogram minus_histogram(const latency_histogram& later,
                                  const latency_histogram& earlier) {
  latency_histogram rest{
      .sum_ns = later.sum_ns - earlier.sum_ns, .min_ns = 0, .max_ns = 0, .slots = {}};
  unsigned first = LATENCY_SLOTS;
  unsigned last = 0;
  for (unsigned slot = 0; slot < LATENCY_SLOTS; ++slot) {
    rest.slots[slot] = later.slots[slot] - earlier.slots[slot];
    if (rest.slots[slot] == 0) continue;
    first = std::min(first, slot);
    last = slot;
  }
  if (first == LATENCY_SLOTS) return rest;
  // min_ns is one more than it says, so that 0 is none.
  const bool new_min = earlier.min_ns == 0 || later.min_ns < earlier.min_ns;
  rest.min_ns =
      new_min ? later.min_ns : std::max<__u64>(later.min_ns, log_linear_lowest(first) + 1);
  const bool new_max = later.max_ns > earlier.max_ns;
  rest.max_ns = new_max ? later.max_ns : std::min<__u64>(later.max_ns, log_linear_highest(last));
  return rest;
}

std::uint64_t ios_in(const StageCounts& counts) {
  std::uint64_t ios = 0;
  for (const auto& [place, stages] : counts) ios += ios_of(*stages);
  return ios;
}

LatencyCounts operator-(const LatencyCounts& later, const LatencyCounts& earlier) {
  return {.by_size = minus_stages(later.by_size, earlier.by_size),
          .by_queue = minus_stages(later.by_queue, earlier.by_queue),
          .totals = minus(later.totals, earlier.totals),
          .in_flight_ios = later.in_flight_ios,
          .requests = later.requests - earlier.requests,
          .missed_runs = later.missed_runs - earlier.missed_runs};
}

Stages histograms_of(const latency_stages& counted) {
  Stages stages;
  for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage)
    stages[stage] = histogram_of(counted.stages[stage]);
  return stages;
}

Result<MappedStages> MappedStages::open(const bpf_map* map, unsigned elements) {
  auto mapping =
      Mapping::map(elements * sizeof(latency_stages), PROT_READ, MAP_SHARED, bpf_map__fd(map));
  if (!mapping) return failed("map the BPF map", bpf_map__name(map), mapping.error().errnum);
  MappedStages mapped;
  mapped.mapping_ = std::move(*mapping);
  mapped.elements_ = elements;
  return mapped;
}

StageCounts MappedStages::read() const {
  StageCounts counts;
  const auto* const stages = reinterpret_cast<const latency_stages*>(mapping_.data());
  for (unsigned place = 0; place < elements_; ++place)
    // Set with the first I/O: min_ns is one more than it says.
    if (stages[place].stages[LATENCY_TOTAL].min_ns != 0)
      counts.emplace(place, std::make_unique<latency_stages>(stages[place]));
  return counts;
}

}  // namespace ublkbench::probes
