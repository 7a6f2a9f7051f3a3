// SPDX-License-Identifier: MIT
#include "bench/load/verify_block.hpp"

#include <benchmark/benchmark.h>

#include <vector>

namespace {

using namespace ublkbench::load;

constexpr BlockIdentity identity{
    .device = 1, .offset = 8192, .run = 3, .write = 4, .generation = 5, .position = 0, .length = 1};

void block_fill(benchmark::State& state) {
  std::vector<std::byte> block(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    fill_block(block, identity);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(block_fill)->Arg(512)->Arg(4096);

void block_inspect(benchmark::State& state) {
  std::vector<std::byte> block(static_cast<std::size_t>(state.range(0)));
  fill_block(block, identity);
  for (auto _ : state) benchmark::DoNotOptimize(inspect_block(block));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(block_inspect)->Arg(512)->Arg(4096);

void block_crc32c_portable(benchmark::State& state) {
  const std::vector<std::byte> block(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(crc32c_portable(block));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(block_crc32c_portable)->Arg(4096);

}  // namespace
