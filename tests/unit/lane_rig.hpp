// SPDX-License-Identifier: MIT
// Drives a target's lane without a driver: requests in, results out, on a ring of its own.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "bench/base/clock.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench::testing_support {

class LaneRig final : public Unparker {
 public:
  explicit LaneRig(Target& target, std::uint32_t slots = 8, std::uint32_t max_bytes = 1 << 20,
                   std::vector<IoTag> tags = {})
      : ring_(*Ring::create({.sq_entries = 256})), slots_(slots), append_sectors_(slots) {
    if (const std::vector<int> files = target.files(); !files.empty()) {
      auto registered = ring_.register_files(files.data(), static_cast<unsigned>(files.size()));
      EXPECT_TRUE(registered) << registered.error().message();
    }
    rings_ = {.io = &ring_, .service = &ring_, .first_file = 0};
    auto lane = target.open_lane({.rings = rings_,
                                  .slots = slots,
                                  .max_bytes = max_bytes,
                                  .unparker = this,
                                  .index = 0,
                                  .tags = std::move(tags),
                                  .append_sectors = append_sectors_.data(),
                                  .counters = &counters_});
    EXPECT_TRUE(lane) << lane.error().message();
    if (lane) lane_ = *lane;
  }

  /// The request's first turn; results come from take().
  void start(std::uint32_t slot, const Request& request, const Data& data) {
    slots_[slot] = {.request = request, .data = data, .state = {}, .result = {}};
    Chain chain(rings_, slots_[slot].state, slot);
    lane_->queue(request, data, chain);
    go_on(slot);
  }

  /// Waits for the result of slot `slot`; nothing within `timeout_ms`.
  std::optional<std::int32_t> take(std::uint32_t slot, unsigned timeout_ms = 5000) {
    const std::uint64_t deadline_ns = now_ns() + timeout_ms * 1'000'000ULL;
    while (!slots_[slot].result && now_ns() < deadline_ns) {
      (void)ring_.submit_timeout(1, 10'000'000);
      ring_.reap([this](const io_uring_cqe& cqe) { completion(cqe); });
    }
    return std::exchange(slots_[slot].result, std::nullopt);
  }

  /// start() and take() in slot 0; -ETIMEDOUT when nothing came back.
  std::int32_t serve(const Request& request, const Data& data = {}) {
    start(0, request, data);
    return take(0).value_or(-ETIMEDOUT);
  }
  std::int32_t read(std::uint64_t offset, std::span<std::byte> memory) {
    return serve(
        {.op = Op::read, .bytes = static_cast<std::uint32_t>(memory.size()), .offset = offset},
        {.place = Data::Place::memory, .memory = memory.data()});
  }
  std::int32_t write(std::uint64_t offset, std::span<std::byte> memory, bool fua = false) {
    return serve({.op = Op::write,
                  .fua = fua,
                  .bytes = static_cast<std::uint32_t>(memory.size()),
                  .offset = offset},
                 {.place = Data::Place::memory, .memory = memory.data()});
  }

  void unpark(std::uint32_t slot, std::int32_t result) noexcept override {
    slots_[slot].state.add_result(result);
    --slots_[slot].state.pending;
    go_on(slot);
  }

  [[nodiscard]] std::uint64_t append_sector(std::uint32_t slot) const {
    return append_sectors_[slot];
  }
  [[nodiscard]] const TargetCounters& counters() const { return counters_; }
  [[nodiscard]] Ring& ring() { return ring_; }
  [[nodiscard]] TargetLane& lane() { return *lane_; }

 private:
  struct Slot {
    Request request;
    Data data;
    ChainState state;
    std::optional<std::int32_t> result;
  };

  void completion(const io_uring_cqe& cqe) {
    const UserData data = classify(cqe.user_data);
    if (data.owner == Owner::target) return lane_->completion(cqe, data);
    if (data.owner != Owner::step) return;
    if (settle_step(slots_[data.index].state, data, cqe.res)) go_on(data.index);
  }

  /// What the server's executor does between turns.
  void go_on(std::uint32_t index) {
    Slot& slot = slots_[index];
    Chain chain(rings_, slot.state, index);
    while (slot.state.pending == 0 && slot.state.stage != 0 && slot.state.result >= 0)
      lane_->resume(std::exchange(slot.state.stage, std::uint8_t{0}), slot.request, slot.data,
                    chain);
    if (slot.state.pending == 0) slot.result = slot.state.result;
  }

  Ring ring_;
  ChainRings rings_;
  std::vector<Slot> slots_;
  std::vector<std::uint64_t> append_sectors_;
  TargetCounters counters_;
  TargetLane* lane_ = nullptr;
};

/// `bytes` of memory that O_DIRECT takes, each byte `fill`.
class Pages {
 public:
  explicit Pages(std::size_t bytes, unsigned char fill = 0)
      : mapping_(*Mapping::map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)) {
    std::memset(mapping_.data(), fill, bytes);
  }
  [[nodiscard]] std::span<std::byte> bytes() const { return mapping_.bytes(); }
  [[nodiscard]] std::span<std::byte> part(std::size_t from, std::size_t count) const {
    return bytes().subspan(from, count);
  }
  [[nodiscard]] bool all(unsigned char value) const {
    for (const std::byte byte : bytes())
      if (byte != std::byte{value}) return false;
    return true;
  }

 private:
  Mapping mapping_;
};

}  // namespace ublkbench::testing_support
