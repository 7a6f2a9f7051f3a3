// SPDX-License-Identifier: MIT
#include <benchmark/benchmark.h>

#include "bench/load/offsets.hpp"

namespace {

using namespace ublkbench::load;

constexpr Range range{.begin = 0, .blocks = 16 << 20};

void random_number(benchmark::State& state) {
  Random random(1);
  for (auto _ : state) benchmark::DoNotOptimize(random.next());
}
BENCHMARK(random_number);

void random_offset(benchmark::State& state) {
  Random random(1);
  RandomOffsets offsets(range, 4096);
  for (auto _ : state) benchmark::DoNotOptimize(offsets.pick(random.next()));
}
BENCHMARK(random_offset);

void sequential_offset(benchmark::State& state) {
  SequentialOffsets offsets(range, 4096);
  for (auto _ : state) benchmark::DoNotOptimize(offsets.pick(0));
}
BENCHMARK(sequential_offset);

}  // namespace
