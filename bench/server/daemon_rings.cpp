// SPDX-License-Identifier: MIT
#include "bench/server/daemon_rings.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

// IORING_MAX_ENTRIES and IORING_MAX_REG_BUFFERS (io_uring/io_uring.h, io_uring/rsrc.c).
constexpr unsigned max_sq_entries = 4096;
constexpr unsigned max_cq_entries = 65536;
constexpr unsigned max_registered_buffers = 1 << 14;

struct RingSpec {
  unsigned entries = 0;
  bool iopoll = false;
  bool buffer_table = false;
  bool say_task_work = false;
};

Result<std::unique_ptr<Ring>> make_ring(const RingSpec& spec, const RingNeeds& needs) {
  auto ring = Ring::create(
      {.sq_entries = std::min(std::bit_ceil(std::max(spec.entries, 4U)), max_sq_entries),
       .cq_entries = std::min(std::bit_ceil(2 * std::max(spec.entries, 4U)), max_cq_entries),
       .iopoll = spec.iopoll,
       .say_task_work = spec.say_task_work});
  if (!ring) return std::unexpected(ring.error());

  if (auto done =
          ring->register_files(needs.files.data(), static_cast<unsigned>(needs.files.size()));
      !done)
    return std::unexpected(done.error());
  if (spec.buffer_table && needs.buffer_slots != 0)
    if (auto done = ring->register_sparse_buffers(needs.buffer_slots); !done)
      return std::unexpected(done.error());
  return std::make_unique<Ring>(std::move(*ring));
}

}  // namespace

Result<DaemonRings> DaemonRings::create(const ReapTraits& reaping, const RingNeeds& needs) {
  if (needs.buffer_slots > max_registered_buffers)
    return bad_input(formatted("{} registered buffers of one daemon", needs.buffer_slots),
                     formatted("a ring's buffer table has at most {} slots: use more daemons or "
                               "a smaller depth",
                               max_registered_buffers));
  // Its REGISTER and UNREGISTER go to one ring and its commits to another, which must not be
  // submitted first because it is full.
  if (reaping.polls_apart && needs.buffer_slots > max_sq_entries / 2)
    return bad_input(
        formatted("{} registered buffers of one daemon with iopoll_split", needs.buffer_slots),
        formatted("at most {} fit: use more daemons or a smaller depth", max_sq_entries / 2));
  const bool split = reaping.polls_apart;
  DaemonRings rings;
  auto first = make_ring({.entries = needs.commands + needs.steps,
                          .iopoll = reaping.polls && !split,
                          .buffer_table = !split,
                          .say_task_work = reaping.polls},
                         needs);
  if (!first) return std::unexpected(first.error());
  rings.first_ = std::move(*first);
  rings.commands_ = rings.first_.get();
  if (!reaping.polls) return rings;

  auto second = make_ring(
      {.entries = needs.steps, .iopoll = split, .buffer_table = split, .say_task_work = true},
      needs);
  if (!second) return std::unexpected(second.error());
  rings.second_ = std::move(*second);
  rings.polled_ = split ? rings.second_.get() : rings.first_.get();
  rings.unpolled_ = split ? rings.first_.get() : rings.second_.get();
  if (auto made = rings.make_event(); !made) return std::unexpected(made.error());
  return rings;
}

Result<> DaemonRings::make_event() {
  event_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_.valid()) return failed("eventfd", "of rings that poll", errno);
  for (Ring* const ring : {polled_, unpolled_})
    if (const int ret = io_uring_register_eventfd(ring->raw(), event_.get()); ret < 0)
      return failed("io_uring_register", "eventfd of a ring that polls", -ret);
  watch(false);
  return {};
}

/// Each completion would signal; only a sleeper wants to know.
void DaemonRings::watch(bool on) {
  for (Ring* const ring : {polled_, unpolled_}) (void)io_uring_cq_eventfd_toggle(ring->raw(), on);
}

void DaemonRings::wait_for_event() {
  pollfd file{.fd = event_.get(), .events = POLLIN, .revents = 0};
  (void)::poll(&file, 1, -1);
  std::uint64_t signals = 0;
  (void)!::read(event_.get(), &signals, sizeof(signals));
}

ChainRings DaemonRings::chain_rings(int first_file) {
  if (!polls()) return {.io = commands_, .service = commands_, .first_file = first_file};
  return {.io = polled_, .service = unpolled_, .first_file = first_file};
}

void DaemonRings::forget_file(unsigned file) {
  for (Ring* const ring : {first_.get(), second_.get()})
    if (ring != nullptr) ring->forget_file(file);
}

std::uint64_t DaemonRings::enters() const {
  return first_->counters().enters + (second_ ? second_->counters().enters : 0);
}

}  // namespace ublkbench
