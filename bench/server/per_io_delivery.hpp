// SPDX-License-Identifier: MIT
// One uring_cmd per io command: FETCH_REQ arms it, its completion delivers a request, and
// COMMIT_AND_FETCH_REQ gives the result back and arms it again.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "bench/base/format.hpp"
#include "bench/base/result.hpp"
#include "bench/server/commands.hpp"
#include "bench/server/data_paths/get_data.hpp"
#include "bench/server/waiting.hpp"

namespace ublkbench {

template <DataPath Path>
class PerIoDelivery {
 public:
  PerIoDelivery(Ring& ring, std::span<const QueueView> queues, std::span<const IoSlot> slots,
                const Path& path, DaemonCounters& counters, const BatchOptions&)
      : ring_(ring), slots_(slots), path_(path), counters_(counters), left_(queues.size()) {}

  /// Called with a queue's index once the driver has taken back all of its io commands.
  void when_queue_ends(std::function<void(std::uint16_t)> ended) { ended_ = std::move(ended); }

  static unsigned commands(std::span<const QueueView>, std::size_t slots, const BatchOptions&) {
    return static_cast<unsigned>(slots);
  }

  /// Hands every io command to the driver. The queue is ready once they were submitted.
  Result<> arm() {
    for (const IoSlot& slot : slots_) ++left_[slot.queue];
    for (std::uint32_t index = 0; index < slots_.size(); ++index)
      queue_command(UBLK_U_IO_FETCH_REQ, slots_[index], index, 0);
    live_ = slots_.size();
    return {};
  }

  /// Still has io commands in the driver or with requests that it must commit.
  [[nodiscard]] bool live() const { return live_ != 0; }

  /// Completions to wait for: a commit has none of its own, so the next one is news.
  static constexpr unsigned wait_for() { return 1; }

  /// Takes a completion of this delivery; calls start(slot index) for a delivered request.
  template <class Start>
  Result<> completion(const io_uring_cqe& cqe, const UserData& data, Start&& start) {
    if (cqe.res == UBLK_IO_RES_OK) [[likely]] {
      ++fetched_;
      start(data.index);
      return {};
    }
    const IoSlot& slot = slots_[data.index];
    if (cqe.res == UBLK_IO_RES_ABORT) {
      --live_;
      if (--left_[slot.queue] == 0 && ended_) ended_(slot.queue);
      return {};
    }
    if constexpr (std::derived_from<Path, GetDataPath>) {
      if (cqe.res == UBLK_IO_RES_NEED_GET_DATA) {
        queue_command(UBLK_U_IO_NEED_GET_DATA, slot, data.index, 0);
        return {};
      }
    }
    return failed("FETCH or COMMIT of", formatted("queue {} tag {}", slot.queue_id, slot.tag),
                  -cqe.res, "the driver refused the io command");
  }

  void commit(const IoSlot& slot, std::uint32_t index, std::int32_t result) {
    ++committed_;
    queue_command(UBLK_U_IO_COMMIT_AND_FETCH_REQ, slot, index, result);
  }

  /// Before io_uring_enter(): what was committed since the last one goes in one system call.
  void flush() {
    if (committed_ != 0) counters_.commit_batch.record(committed_);
    counters_.committed_ios.add(committed_);
    committed_ = 0;
  }

  /// After the completions of one io_uring_enter() were handled.
  void reaped() {
    if (fetched_ != 0) counters_.fetch_batch.record(fetched_);
    counters_.fetched_ios.add(fetched_);
    fetched_ = 0;
  }

 private:
  void queue_command(std::uint32_t op, const IoSlot& slot, std::uint32_t index,
                     std::int32_t result) {
    const std::uint64_t address = path_.address(slot, index);
    constexpr bool buffer = Path::address_kind == AddressKind::buffer;
    static_assert(!(buffer && Path::zoned));  // they share ublksrv_io_cmd::addr
    constexpr bool auto_register = Path::address_kind == AddressKind::auto_register;
    prep_io_command(ring_.uncleared_sqe(), slot.command, op, slot.queue_id, slot.tag, result,
                    buffer ? address : path_.append_sector(index), auto_register ? address : 0,
                    encode(Owner::io_command, index));
  }

  Ring& ring_;
  std::span<const IoSlot> slots_;
  const Path& path_;
  DaemonCounters& counters_;
  std::vector<unsigned> left_;  // io commands that are not taken back, by queue
  std::function<void(std::uint16_t)> ended_;
  std::size_t live_ = 0;
  unsigned fetched_ = 0;
  unsigned committed_ = 0;
};

}  // namespace ublkbench
