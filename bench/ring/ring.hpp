// SPDX-License-Identifier: MIT
// One io_uring, owned by one task. Everything that touches SQEs or CQEs goes through here.
#pragma once

#include <liburing.h>

#include <cstdint>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

struct RingOptions {
  unsigned sq_entries = 128;
  unsigned cq_entries = 0;  ///< 0: the kernel's default, twice the SQ
  /// Only the creating task submits, and task work runs inside its io_uring_enter(): no IPIs, and
  /// completions arrive in batches. Linux 6.1 (io_uring/io_uring.c, IORING_SETUP_DEFER_TASKRUN).
  bool defer_task_work = true;
  bool iopoll = false;
  bool sqe128 = false;         ///< control commands carry 80 bytes of payload
  bool say_task_work = false;  ///< for task_work_left()
};

/// What the ring did; plain counters because only the owning task writes them.
struct RingCounters {
  std::uint64_t enters = 0;     ///< io_uring_enter() calls
  std::uint64_t submitted = 0;  ///< SQEs handed to the kernel
  std::uint64_t reaped = 0;     ///< CQEs seen
};

class Ring {
 public:
  /// ENOMEM usually means that RLIMIT_MEMLOCK is too low; the error says so.
  static Result<Ring> create(const RingOptions& options);

  Ring(Ring&& other) noexcept;
  Ring& operator=(Ring&& other) noexcept;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  /// The next free SQE, cleared as liburing's prep helpers expect it. A full queue is submitted
  /// first, so this never fails.
  io_uring_sqe* sqe() {
    io_uring_sqe* const entry = uncleared_sqe();
    io_uring_initialize_sqe(entry);
    return entry;
  }

  /// The same for callers that fill all 64 bytes: io_uring_get_sqe() clears half of them, and looks
  /// at ring flags that are settled here; both cost each I/O a tenth of its user-space
  /// instructions.
  io_uring_sqe* uncleared_sqe() {
    io_uring_sq& sq = ring_.sq;
    const unsigned tail = sq.sqe_tail;
    if (tail - *sq.khead < sq.ring_entries) [[likely]] {
      sq.sqe_tail = tail + 1;
      return &sq.sqes[(tail & sq.ring_mask) << sqe_shift_];
    }
    return sqe_after_submit();
  }

  /// Submits what is queued and waits for `wait_for` completions. Returns 0 or a negative errno;
  /// interrupted waits (-EINTR) are returned, so that a signal can end a loop.
  int submit(unsigned wait_for) {
    return enter(wait_for, wait_for != 0 ? wait_flags_ : enter_flags_, nullptr, 0);
  }

  /// Submits what is queued, runs task work and polls once (IORING_SETUP_IOPOLL), without sleeping.
  int submit_and_look() { return enter(0, enter_flags_ | IORING_ENTER_GETEVENTS, nullptr, 0); }

  /// Whether the last submit_and_look() left task work behind, or more has come since; only with
  /// `say_task_work` (IORING_SETUP_TASKRUN_FLAG).
  [[nodiscard]] bool task_work_left() const {
    return (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0;
  }

  /// Waits for `count` completions, but for `at_least` of them only once `wait_us` are over
  /// (IORING_FEAT_MIN_TIMEOUT, Linux 6.12; before it for `at_least` at once).
  int submit_batch_wait(unsigned at_least, unsigned count, std::uint32_t wait_us);

  /// As submit(), but gives up after `timeout_ns`; returns -ETIME then.
  int submit_timeout(unsigned wait_for, std::uint64_t timeout_ns);

  /// Calls `handle(const io_uring_cqe&)` for each completion that is there; returns how many.
  /// Completions are given back to the kernel after all were handled.
  template <class Handler>
  unsigned reap(Handler&& handle) {
    const unsigned count = completions_ready();
    reap(count, handle);
    return count;
  }

  /// Calls `handle` for the first `count` completions; as many must be there (completions_ready()).
  template <class Handler>
  void reap(unsigned count, Handler&& handle) {
    const io_uring_cqe* const entries = ring_.cq.cqes;
    const unsigned mask = ring_.cq.ring_mask;
    const unsigned head = *ring_.cq.khead;
    for (unsigned at = head; at != head + count; ++at) handle(entries[at & mask]);
    io_uring_cq_advance(&ring_, count);
    counters_.reaped += count;
  }

  [[nodiscard]] unsigned completions_ready() const { return io_uring_cq_ready(&ring_); }
  [[nodiscard]] unsigned submissions_ready() const { return io_uring_sq_ready(&ring_); }

  /// Fixed files, in the given order: SQEs refer to them by index with IOSQE_FIXED_FILE.
  Result<> register_files(const int* fds, unsigned count);
  /// Takes file `index` out of that table; what is in flight keeps it until it completes.
  void forget_file(unsigned index);
  /// A sparse table of `count` buffer slots for buffers that the kernel registers (Linux 5.19).
  Result<> register_sparse_buffers(unsigned count);
  Result<> register_buffers(const iovec* buffers, unsigned count);

  [[nodiscard]] const RingCounters& counters() const { return counters_; }
  [[nodiscard]] io_uring* raw() { return &ring_; }

 private:
  Ring() = default;
  void close();
  io_uring_sqe* sqe_after_submit();

  int enter(unsigned wait_for, unsigned flags, void* argument, std::size_t argument_bytes) {
    const unsigned queued = ring_.sq.sqe_tail - ring_.sq.sqe_head;
    io_uring_smp_store_release(ring_.sq.ktail, ring_.sq.sqe_tail);
    ring_.sq.sqe_head = ring_.sq.sqe_tail;
    ++counters_.enters;
    // What an interrupted or starved call left behind is submitted too: up to the kernel's head.
    const unsigned pending = ring_.sq.sqe_tail - *ring_.sq.khead;
    const int ret =
        argument == nullptr
            ? io_uring_enter(static_cast<unsigned>(ring_.enter_ring_fd), pending, wait_for, flags,
                             nullptr)
            : io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), pending, wait_for, flags,
                              static_cast<sigset_t*>(argument), argument_bytes);
    counters_.submitted += queued;
    return ret < 0 ? ret : 0;
  }

  io_uring ring_{};
  unsigned enter_flags_ = 0;
  unsigned wait_flags_ = IORING_ENTER_GETEVENTS;
  bool has_min_wait_ = false;
  unsigned sqe_shift_ = 0;  // log2 of an SQE's size in units of 64 bytes
  RingCounters counters_;
  bool has_files_ = false;
  bool live_ = false;
};

}  // namespace ublkbench
