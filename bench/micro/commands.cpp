// SPDX-License-Identifier: MIT
// What a daemon does for each io command: classify a completion, write a command or an element.
#include <benchmark/benchmark.h>

#include <vector>

#include "bench/ring/user_data.hpp"
#include "bench/server/batch_element.hpp"
#include "bench/server/commands.hpp"

namespace ublkbench {
namespace {

void classify_user_data(benchmark::State& state) {
  std::vector<std::uint64_t> completions;
  for (std::uint32_t index = 0; index < 1024; ++index)
    completions.push_back(encode(index % 4 == 0 ? Owner::step : Owner::io_command, index));
  std::uint64_t sum = 0;
  for (auto _ : state) {
    for (const std::uint64_t bits : completions) {
      const UserData data = classify(bits);
      sum += data.owner == Owner::step ? data.index : 1;
    }
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(completions.size()));
}
BENCHMARK(classify_user_data);

void prepare_commit_and_fetch(benchmark::State& state) {
  std::vector<io_uring_sqe> entries(128);
  std::uint16_t tag = 0;
  for (auto _ : state) {
    for (io_uring_sqe& sqe : entries) {
      ++tag;
      prep_io_command(&sqe, command_word(0), UBLK_U_IO_COMMIT_AND_FETCH_REQ, 0, tag, 4096, 0, tag,
                      encode(Owner::io_command, tag));
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(entries.size()));
}
BENCHMARK(prepare_commit_and_fetch);

template <AddressKind kind>
void encode_elements(benchmark::State& state) {
  ElementBuffer buffer(128 * element_bytes<kind>);
  for (auto _ : state) {
    for (std::uint16_t tag = 0; tag < 128; ++tag)
      buffer.extend_to(encode_element<kind>(buffer.end(), tag, 4096, tag));
    benchmark::ClobberMemory();
    buffer.consume(buffer.bytes());
  }
  state.SetItemsProcessed(state.iterations() * 128);
}
BENCHMARK(encode_elements<AddressKind::buffer>);
BENCHMARK(encode_elements<AddressKind::auto_register>);

void decode_fetched_tags(benchmark::State& state) {
  std::vector<std::uint16_t> buffer(128);
  for (std::size_t at = 0; at < buffer.size(); ++at) buffer[at] = static_cast<std::uint16_t>(at);
  std::uint64_t sum = 0;
  for (auto _ : state) {
    for (const std::uint16_t tag : decode_tags(buffer.data(), 256)) sum += tag;
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations() * 128);
}
BENCHMARK(decode_fetched_tags);

}  // namespace
}  // namespace ublkbench
