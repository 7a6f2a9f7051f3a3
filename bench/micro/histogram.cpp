// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include "bench/base/histogram.hpp"
#include "bench/load/offsets.hpp"

namespace {

using namespace ublkbench;

/// Values as latencies are: most within one power of two, some far off.
void histogram_record(benchmark::State& state) {
  Histogram histogram;
  load::Random random(1);
  for (auto _ : state) {
    const std::uint64_t word = random.next();
    histogram.record((word & 0xffff) + ((word >> 60) == 0 ? word >> 40 : 0));
  }
  benchmark::DoNotOptimize(histogram);
}
BENCHMARK(histogram_record);

void histogram_percentile(benchmark::State& state) {
  Histogram histogram;
  load::Random random(1);
  for (int i = 0; i < 10000; ++i) histogram.record(random.below(1'000'000));
  for (auto _ : state) benchmark::DoNotOptimize(histogram.percentile(99.9));
}
BENCHMARK(histogram_percentile);

}  // namespace
