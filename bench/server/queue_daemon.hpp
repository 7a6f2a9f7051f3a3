// SPDX-License-Identifier: MIT
// The daemon that fetches, serves and commits in one task.
#pragma once

#include <optional>
#include <utility>

#include "bench/base/clock.hpp"
#include "bench/server/daemon.hpp"
#include "bench/server/daemon_rings.hpp"
#include "bench/server/executor.hpp"

namespace ublkbench {

/// Slots of a daemon's io commands, queue by queue; sets each QueueView's first_slot.
std::vector<IoSlot> make_slots(DaemonSetup& setup);
std::size_t slot_count(const DaemonSetup& setup);

/// The files of a daemon's rings: its devices' own, then their targets'.
std::vector<int> ring_files(const DaemonSetup& setup);

/// Of all targets that a daemon serves, per request.
unsigned most_steps(const DaemonSetup& setup);

/// The lanes of a task, one for each of its devices; slots point into it.
class Lanes {
 public:
  /// For the task that owns `rings` and counts in `counters`; tells each slot its lane.
  Result<> open(const DaemonSetup& setup, DaemonRings& rings, std::span<IoSlot> slots,
                Unparker& unparker, DaemonCounters& counters);
  [[nodiscard]] std::span<TargetLane* const> all() const { return lanes_; }

 private:
  std::vector<ChainRings> rings_;
  std::vector<TargetLane*> lanes_;
};

/// REGISTER_IO_BUF or UNREGISTER_IO_BUF failed; nothing else posts such a completion.
Error buffer_command_error(const IoSlot& slot, std::int32_t result);

/// A return of io_uring_enter() that a loop goes on after: interrupted, or short of memory or
/// completions until the next reap.
inline bool worth_retrying(int ret) {
  return ret >= 0 || ret == -EINTR || ret == -EAGAIN || ret == -EBUSY || ret == -ETIME;
}

template <template <DataPath> class DeliveryOf, DataPath Path>
class QueueDaemon final : public Daemon {
 public:
  QueueDaemon(DaemonRings rings, DaemonSetup setup, std::vector<IoSlot> slots, const Path& path)
      : rings_(std::move(rings)),
        setup_(std::move(setup)),
        slots_(std::move(slots)),
        path_(path),
        counters_(*setup_.counters),
        delivery_(rings_.commands(), setup_.queues, slots_, path_, counters_, setup_.batch),
        executor_(slots_, path_, counters_, Commit{this}),
        queues_left_(setup_.devices.size()) {
    for (const QueueView& queue : setup_.queues) ++queues_left_[queue.device];
    delivery_.when_queue_ends([this](std::uint16_t queue) { queue_ended(queue); });
  }

  Result<> arm() override {
    if (auto opened = lanes_.open(setup_, rings_, slots_, executor_, counters_); !opened)
      return opened;
    executor_.use(lanes_.all());
    if (auto armed = delivery_.arm(); !armed) return armed;
    if (const int ret = rings_.commands().submit(0); ret < 0)
      return failed("io_uring_enter", "to fetch", -ret);
    return {};
  }

  Result<> serve() override {
    if (rings_.polls()) return serve_polling();
    return setup_.waiting.plain() ? serve_waiting() : serve_by_policy();
  }

 private:
  struct Commit {
    QueueDaemon* daemon;
    void operator()(IoSlot& slot, std::uint32_t index, std::int32_t result) const {
      daemon->delivery_.commit(slot, index, result);
    }
  };

  Result<> serve_waiting() {
    Ring& ring = rings_.commands();
    while (delivery_.live() && !failure_) {
      delivery_.flush();
      if (const int ret = ring.submit(delivery_.wait_for()); !worth_retrying(ret))
        return failed("io_uring_enter", "of a daemon", -ret);
      take(ring);
    }
    return outcome();
  }

  /// Waits for several completions at once, or looks for a while before it sleeps.
  Result<> serve_by_policy() {
    Ring& ring = rings_.commands();
    const Waiting& waiting = setup_.waiting;
    while (delivery_.live() && !failure_) {
      delivery_.flush();
      int ret = ring.submit_and_look();
      if (worth_retrying(ret) && !spin([&] { return ring.submit_and_look(); },
                                       [&] { return ring.completions_ready() != 0; }))
        ret = ring.submit_batch_wait(delivery_.wait_for(), waiting.count, waiting.wait_us);
      if (!worth_retrying(ret)) return failed("io_uring_enter", "of a daemon", -ret);
      take_out_of_line(ring);
    }
    return outcome();
  }

  /// A ring that polls never sleeps in io_uring_enter() (io_uring/io_uring.c, io_iopoll_check):
  /// while the target has I/O in flight it is polled, and otherwise both rings are waited for,
  /// after looking for `spin_us`.
  Result<> serve_polling() {
    Ring& polled = rings_.polled();
    Ring& unpolled = rings_.unpolled();
    const auto look = [&] {
      const int ret = polled.submit_and_look();
      if (!worth_retrying(ret)) return ret;
      return unpolled.submissions_ready() != 0 || &unpolled == &rings_.commands() ||
                     executor_.in_flight() != 0
                 ? unpolled.submit_and_look()
                 : ret;
    };
    const auto ready = [&] {
      return polled.completions_ready() != 0 || unpolled.completions_ready() != 0;
    };
    while (delivery_.live() && !failure_) {
      delivery_.flush();
      if (const int ret = look(); !worth_retrying(ret))
        return failed("io_uring_enter", "of a daemon that polls", -ret);
      if (!ready() && executor_.in_flight() == 0 && !spin(look, ready)) rings_.sleep(look, ready);
      take_out_of_line(polled);
      take_out_of_line(unpolled);
    }
    return outcome();
  }

  /// Looks until something is ready (true) or the time for it is over.
  template <class Look, class Ready>
  bool spin(Look&& look, Ready&& ready) {
    if (ready()) return true;
    if (setup_.waiting.spin_us == 0) return false;
    const std::uint64_t deadline_ns = now_ns() + setup_.waiting.spin_us * 1000ULL;
    while (now_ns() < deadline_ns) {
      if (!worth_retrying(look())) return false;
      if (ready()) return true;
    }
    return false;
  }

  /// Inlined into the loop that is measured, down to the delivery and the executor: a call for each
  /// completion cost 2 % of the server's instructions.
  [[gnu::always_inline]] void take(Ring& ring) {
    ring.reap([this] [[gnu::always_inline]] (const io_uring_cqe& cqe) { completion(cqe); });
    delivery_.reaped();
    counters_.enters.add(rings_.enters() - counters_.enters.get());
  }

  [[gnu::noinline]] void take_out_of_line(Ring& ring) { take(ring); }

  [[gnu::always_inline]] void completion(const io_uring_cqe& cqe) {
    const UserData data = classify(cqe.user_data);
    if (data.owner == Owner::step) return executor_.step_done(cqe, data);
    if (data.owner >= Owner::target) [[unlikely]]
      return rare_completion(cqe);
    auto taken =
        delivery_.completion(cqe, data, [this](std::uint32_t index) { executor_.start(index); });
    if (!taken && !failure_) failure_ = taken.error();
  }

  /// Classifies again: a reference to the loop's own UserData would keep that in memory.
  [[gnu::noinline]] void rare_completion(const io_uring_cqe& cqe) {
    const UserData data = classify(cqe.user_data);
    if (data.owner == Owner::target) return executor_.target_completion(cqe, data);
    if (!failure_) failure_ = buffer_command_error(slots_[data.index], cqe.res);
  }

  /// The driver removes a device once nobody has its file: this ring must not keep it.
  void queue_ended(std::uint16_t queue) {
    const std::uint16_t device = setup_.queues[queue].device;
    if (--queues_left_[device] != 0 || !setup_.released) return;
    rings_.forget_file(device);
    setup_.released(setup_.devices[device]);
  }

  Result<> outcome() const {
    if (failure_) return std::unexpected(*failure_);
    return {};
  }

  DaemonRings rings_;
  DaemonSetup setup_;
  std::vector<IoSlot> slots_;
  Path path_;
  DaemonCounters& counters_;
  DeliveryOf<Path> delivery_;
  Executor<Path, Commit> executor_;
  Lanes lanes_;
  std::vector<unsigned> queues_left_;  // that the driver has not taken back, by device
  std::optional<Error> failure_;
};

}  // namespace ublkbench
