// SPDX-License-Identifier: MIT
// Hands requests from one task to another: a bounded queue with one producer and one consumer, and
// a wake that cannot be lost.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"
#include "bench/ring/ring.hpp"
#include "bench/ring/user_data.hpp"
#include "bench/server/counters.hpp"
#include "bench/server/waiting.hpp"

namespace ublkbench {

/// A request on its way: its slot, and on the way back what came of it.
struct Handed {
  std::uint32_t slot = 0;
  std::int32_t result = 0;
};

/// Holds as many entries as there are slots, so that push() always has room.
class HandoverQueue {
 public:
  explicit HandoverQueue(std::size_t slots) : entries_(std::bit_ceil(slots)) {}

  void push(const Handed& handed) {
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    entries_[tail & (entries_.size() - 1)] = handed;
    tail_.store(tail + 1, std::memory_order_release);
  }

  /// Calls take(handed) for each entry that is there.
  template <class Take>
  void drain(Take&& take) {
    std::uint32_t head = head_.load(std::memory_order_relaxed);
    const std::uint32_t tail = tail_.load(std::memory_order_acquire);
    for (; head != tail; ++head) {
      const Handed handed = entries_[head & (entries_.size() - 1)];
      head_.store(head + 1, std::memory_order_release);
      take(handed);
    }
  }

  [[nodiscard]] bool empty() const {
    return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_acquire);
  }

 private:
  std::vector<Handed> entries_;
  alignas(64) std::atomic<std::uint32_t> tail_ = 0;
  alignas(64) std::atomic<std::uint32_t> head_ = 0;
};

/// How a task sleeps in its ring and is woken from another.
///
/// The sleeper announces itself with will_sleep(), then looks at its queue once more, and only then
/// sleeps; the waker looks at the announcement after it has pushed. Both sides fence in between, so
/// one of the two sees the other's write: no wake is lost, and a task that is awake costs no wake.
class Wakeup {
 public:
  /// For the task that owns `ring`; called by it.
  static Result<std::unique_ptr<Wakeup>> create(Ring& ring, WakeBy by);
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // The sleeper's side.
  void will_sleep() {
    asleep_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void awake() { asleep_.store(false, std::memory_order_relaxed); }
  /// Takes a completion with Owner::wake.
  void completion(const io_uring_cqe& cqe);

  // The waker's side; `from` is the waker's own ring.
  void wake(Ring& from, DaemonCounters& counters);

 private:
  Wakeup(Ring& ring, WakeBy by) : ring_(ring), by_(by) {}
  void queue_read();

  static constexpr unsigned buffers = 8;

  Ring& ring_;
  WakeBy by_;
  Fd event_;
  io_uring_buf_ring* shared_ = nullptr;
  std::array<std::uint64_t, buffers> values_{};
  std::atomic<bool> asleep_ = false;
};

}  // namespace ublkbench
