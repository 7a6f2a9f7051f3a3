// SPDX-License-Identifier: MIT
#include "bench/server/handover.hpp"

#include <cerrno>
#include <memory>

namespace ublkbench {
namespace {

/// Groups of provided buffers of a daemon's ring: its queues have the first ones.
constexpr int wake_group = 0xffff;

}  // namespace

Result<std::unique_ptr<Wakeup>> Wakeup::create(Ring& ring, WakeBy by) {
  std::unique_ptr<Wakeup> wakeup(new Wakeup(ring, by));
  if (by == WakeBy::msg_ring) return wakeup;

  wakeup->event_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup->event_.valid()) return failed("eventfd", "of a wakeup", errno);
  int ret = 0;
  wakeup->shared_ = io_uring_setup_buf_ring(ring.raw(), buffers, wake_group, 0, &ret);
  if (wakeup->shared_ == nullptr)
    return failed("io_uring_register buffer ring", "of a wakeup", -ret);
  for (unsigned id = 0; id < buffers; ++id)
    io_uring_buf_ring_add(wakeup->shared_, &wakeup->values_[id], sizeof(std::uint64_t),
                          static_cast<std::uint16_t>(id), io_uring_buf_ring_mask(buffers),
                          static_cast<int>(id));
  io_uring_buf_ring_advance(wakeup->shared_, buffers);
  wakeup->queue_read();
  return wakeup;
}

Wakeup::~Wakeup() {
  if (shared_ != nullptr) io_uring_free_buf_ring(ring_.raw(), shared_, buffers, wake_group);
}

void Wakeup::queue_read() {
  io_uring_sqe* const sqe = ring_.sqe();
  io_uring_prep_read_multishot(sqe, event_.get(), 0, 0, wake_group);
  sqe->user_data = encode(Owner::wake, 0);
}

void Wakeup::completion(const io_uring_cqe& cqe) {
  if (by_ == WakeBy::msg_ring) return;
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    const auto id = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    io_uring_buf_ring_add(shared_, &values_[id], sizeof(std::uint64_t), id,
                          io_uring_buf_ring_mask(buffers), 0);
    io_uring_buf_ring_advance(shared_, 1);
  }
  if ((cqe.flags & IORING_CQE_F_MORE) == 0 && cqe.res != -ECANCELED) queue_read();
}

void Wakeup::wake(Ring& from, DaemonCounters& counters) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!asleep_.exchange(false, std::memory_order_relaxed)) return;
  counters.wakes.add(1);
  if (by_ == WakeBy::eventfd) {
    const std::uint64_t one = 1;
    (void)!::write(event_.get(), &one, sizeof(one));
    return;
  }
  io_uring_sqe* const sqe = from.sqe();
  io_uring_prep_msg_ring(sqe, ring_.raw()->ring_fd, 0, encode(Owner::wake, 0), 0);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = encode(Owner::wake, 0);
}

}  // namespace ublkbench
