// SPDX-License-Identifier: MIT
// Serves delivered requests: data in place, the target's turns, data back, result out. It runs in
// the task that owns its rings; where the io commands come from and go to is not its business.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "bench/server/data_path.hpp"
#include "bench/server/planted.hpp"

namespace ublkbench {

/// `Finish` is called as finish(slot, index, result) when a request's result may be committed.
template <DataPath Path, class Finish>
class Executor final : public Unparker {
 public:
  Executor(std::span<IoSlot> slots, const Path& path, DaemonCounters& counters, Finish finish)
      : slots_(slots), path_(path), counters_(counters), finish_(std::move(finish)) {}

  /// Whose completions target_completion() gets; must come before the first request.
  void use(std::span<TargetLane* const> lanes) { lanes_ = lanes; }

  void start(std::uint32_t index) {
    spend_planted_instructions();
    IoSlot& slot = slots_[index];
    const Request request = read_request(*slot.descriptor);
    slot.chain = {};
    Chain chain(*slot.rings, slot.chain, index);
    path_.acquire(request, slot, index, chain, counters_);
    if constexpr (Path::can_fail) {
      if (slot.chain.result < 0) [[unlikely]]
        return finish(request, slot, index);
    }
    slot.lane->queue(request, path_.data(request, slot, index), chain);
    after_turn(request, slot, index, chain);
  }

  /// Takes the completion of an SQE that start() led to.
  void step_done(const io_uring_cqe& cqe, const UserData& data) {
    IoSlot& slot = slots_[data.index];
    if (settle_step(slot.chain, data, cqe.res)) settled(slot, data.index);
  }

  void unpark(std::uint32_t index, std::int32_t result) noexcept override {
    IoSlot& slot = slots_[index];
    slot.chain.add_result(result);
    if (--slot.chain.pending == 0) settled(slot, index);
  }

  /// Requests whose SQEs, or whatever they are parked for, have not completed.
  [[nodiscard]] unsigned in_flight() const { return in_flight_; }

  void target_completion(const io_uring_cqe& cqe, const UserData& data) {
    lanes_[data.index]->completion(cqe, data);
  }

 private:
  void after_turn(const Request& request, IoSlot& slot, std::uint32_t index, Chain& chain) {
    if (slot.chain.pending == 0) {
      if (slot.chain.stage != 0) [[unlikely]] {
        ++in_flight_;
        return settled(slot, index);
      }
      return end(request, slot, index, chain);
    }
    ++in_flight_;
    if constexpr (Path::releases_early) {
      if (slot.chain.stage == 0 && slot.chain.flags == 0) {
        path_.release(request, slot, index, chain);
        slot.chain.flags = ChainState::released;
      }
    }
  }

  /// All that a turn put in flight has completed: the target's next turn, or the end. Kept out of
  /// the loop, which has more in registers without it.
  [[gnu::noinline]] void settled(IoSlot& slot, std::uint32_t index) {
    const Request request = read_request(*slot.descriptor);
    Chain chain(*slot.rings, slot.chain, index);
    --in_flight_;
    while (slot.chain.stage != 0 && slot.chain.result >= 0) {
      const std::uint8_t stage = std::exchange(slot.chain.stage, std::uint8_t{0});
      slot.lane->resume(stage, request, path_.data(request, slot, index), chain);
      if (slot.chain.pending != 0) {
        ++in_flight_;
        return;
      }
    }
    end(request, slot, index, chain);
  }

  void end(const Request& request, IoSlot& slot, std::uint32_t index, Chain& chain) {
    if (!Path::releases_early || (slot.chain.flags & ChainState::released) == 0)
      path_.release(request, slot, index, chain);
    finish(request, slot, index);
  }

  void finish(const Request& request, IoSlot& slot, std::uint32_t index) {
    std::int32_t result = slot.chain.result;
    if (static_cast<std::uint32_t>(result) != request.bytes) [[unlikely]] {
      result = partial_result(request, slot);
      if (result < 0) counters_.failed_ios.add(1);
    }
    finish_(slot, index, result);
  }

  /// What is committed for a request that was not served in full. The driver ignores how much of a
  /// write was served and resumes reads only where it copies, so a short one would be success with
  /// stale data (ublk_drv.c, __ublk_complete_rq).
  /// Out of line: inlined, it weighs on what becomes of the full result's code.
  [[gnu::noinline, gnu::cold]] std::int32_t partial_result(const Request& request,
                                                           const IoSlot& slot) const {
    const std::int32_t result = slot.chain.result;
    if (result < 0 || !(carries_data(request.op) || request.op == Op::zone_append)) return result;
    if (request.op != Op::read || !path_.resumes_short_reads(slot)) return -EIO;
    // What is resumed starts where the block layer counts from: sectors (blk_update_request()), and
    // the device's blocks, below which a target need not serve.
    const std::int32_t whole = result >> slot.block_shift << slot.block_shift;
    return whole != 0 ? whole : -EIO;
  }

  std::span<TargetLane* const> lanes_;
  std::span<IoSlot> slots_;
  Path path_;
  DaemonCounters& counters_;
  Finish finish_;
  unsigned in_flight_ = 0;
};

}  // namespace ublkbench
