// SPDX-License-Identifier: MIT
// A request's chain: opened, one step queued, its completion settled. NOPs stand for the I/O, and
// their submission is counted too: it is what a chain is for.
#include "bench/ring/chain.hpp"

#include <benchmark/benchmark.h>

#include <vector>

namespace ublkbench {
namespace {

void one_step_chains(benchmark::State& state) {
  auto ring = Ring::create({.sq_entries = 128});
  if (!ring) return state.SkipWithError(ring.error().message().c_str());
  const ChainRings rings{.io = &*ring, .service = &*ring};
  std::vector<ChainState> slots(128);
  for (auto _ : state) {
    for (std::uint32_t slot = 0; slot < slots.size(); ++slot) {
      slots[slot] = {};
      Chain chain(rings, slots[slot], slot);
      io_uring_sqe* const sqe = chain.step();
      io_uring_prep_nop(sqe);
      chain.queued(sqe, StepKind::data);
    }
    (void)ring->submit(128);
    ring->reap([&slots](const io_uring_cqe& cqe) {
      const UserData data = classify(cqe.user_data);
      benchmark::DoNotOptimize(settle_step(slots[data.index], data, cqe.res));
    });
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(slots.size()));
}
BENCHMARK(one_step_chains);

void settle_steps(benchmark::State& state) {
  const UserData data{.owner = Owner::step};
  for (auto _ : state) {
    ChainState chain{.pending = 4};
    for (int step = 0; step < 4; ++step) benchmark::DoNotOptimize(settle_step(chain, data, 4096));
  }
  state.SetItemsProcessed(state.iterations() * 4);
}
BENCHMARK(settle_steps);

}  // namespace
}  // namespace ublkbench
