// SPDX-License-Identifier: MIT
// Placement offload: the queue task only fetches and commits; a worker of its own, with its own
// ring, moves the data and does the target's I/O.
#pragma once

#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <optional>
#include <thread>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/server/handover.hpp"
#include "bench/server/queue_daemon.hpp"

namespace ublkbench {

/// The task that serves. It lives as long as the object; all but the constructor, ready() and the
/// destructor run in it.
template <DataPath Path>
class OffloadWorker {
 public:
  OffloadWorker(const DaemonSetup& setup, RingNeeds needs, std::span<IoSlot> slots,
                const Path& path, HandoverQueue& to_commit)
      : setup_(setup),
        slots_(slots),
        path_(path),
        counters_(*setup.worker_counters),
        to_serve_(slots.size()),
        to_commit_(to_commit),
        answers_(reserved(slots.size())),
        thread_([this, needs = std::move(needs)] { main(needs); }) {}

  ~OffloadWorker() {
    stopping_ = true;
    if (ready()) wake_to_end();
    may_end_ = true;
    may_end_.notify_one();
    thread_.join();
  }

  /// Waits until the worker has its ring and lane, or says why not.
  const Result<>& ready() {
    if (started_.valid()) outcome_ = started_.get();
    return outcome_;
  }

  /// Called by the queue task.
  void push(std::uint32_t slot) { to_serve_.push({.slot = slot}); }
  void wake(Ring& from, DaemonCounters& counters) { wakeup_->wake(from, counters); }
  /// The queue task's own; must be there before the first push().
  void answer_to(Wakeup& wakeup) { committer_ = &wakeup; }
  [[nodiscard]] bool failed_already() const { return failed_; }
  [[nodiscard]] const Error& failure() const { return *failure_; }

 private:
  struct Answer {
    OffloadWorker* worker;
    void operator()(IoSlot&, std::uint32_t index, std::int32_t result) const {
      worker->answers_.push_back({.slot = index, .result = result});
    }
  };

  static std::vector<Handed> reserved(std::size_t slots) {
    std::vector<Handed> answers;
    answers.reserve(slots);
    return answers;
  }

  void wake_to_end() {
    auto ring = Ring::create({.sq_entries = 4});
    if (!ring) return;
    wakeup_->wake(*ring, counters_);
    (void)ring->submit(0);
  }

  void main(const RingNeeds& needs) {
    ::prctl(PR_SET_NAME, formatted("ublk-w{}", setup_.index).c_str());
    ::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    counters_.task_id = ::gettid();
    auto rings = DaemonRings::create(ReapTraits(), needs);
    if (!rings) return ready_.set_value(std::unexpected(rings.error()));
    Executor<Path, Answer> executor(slots_, path_, counters_, Answer{this});
    Lanes lanes;
    if (auto opened = lanes.open(setup_, *rings, slots_, executor, counters_); !opened)
      return ready_.set_value(std::unexpected(opened.error()));
    executor.use(lanes.all());
    auto wakeup = Wakeup::create(rings->commands(), setup_.waiting.wake_by);
    if (!wakeup) return ready_.set_value(std::unexpected(wakeup.error()));
    wakeup_ = wakeup->get();
    ready_.set_value({});
    serve(rings->commands(), executor, **wakeup);
    if (Wakeup* const committer = committer_; failed_ && committer != nullptr) {
      committer->wake(rings->commands(), counters_);
      (void)rings->commands().submit(0);
    }
    // The queue task may still wake this one: what it does that by must be there until it is done.
    may_end_.wait(false);
  }

  void serve(Ring& ring, Executor<Path, Answer>& executor, Wakeup& wakeup) {
    while (!stopping_ && !failed_) {
      to_serve_.drain([&](const Handed& handed) { executor.start(handed.slot); });
      if (!answers_.empty() && !answer(ring)) return;
      wakeup.will_sleep();
      const bool idle = to_serve_.empty() && !stopping_;
      const int ret = idle ? ring.submit(1) : ring.submit_and_look();
      wakeup.awake();
      if (!worth_retrying(ret)) return fail(failed("io_uring_enter", "of a worker", -ret).error());
      ring.reap([&](const io_uring_cqe& cqe) { completion(cqe, executor, wakeup); });
      counters_.enters.add(ring.counters().enters - counters_.enters.get());
    }
  }

  /// Only after the data path's own commands were carried out: the queue task may commit at once,
  /// and a buffer must be registered and out of the table again before that.
  bool answer(Ring& ring) {
    const int ret = ring.submissions_ready() != 0 ? ring.submit(0) : 0;
    if (!worth_retrying(ret)) {
      fail(failed("io_uring_enter", "of a worker", -ret).error());
      return false;
    }
    for (const Handed& handed : answers_) to_commit_.push(handed);
    answers_.clear();
    committer_.load()->wake(ring, counters_);
    return true;
  }

  void completion(const io_uring_cqe& cqe, Executor<Path, Answer>& executor, Wakeup& wakeup) {
    const UserData data = classify(cqe.user_data);
    switch (data.owner) {
      case Owner::step:
        return executor.step_done(cqe, data);
      case Owner::target:
        return executor.target_completion(cqe, data);
      case Owner::wake:
        return wakeup.completion(cqe);
      default:
        return fail(buffer_command_error(slots_[data.index], cqe.res));
    }
  }

  void fail(const Error& error) {
    failure_ = error;
    failed_ = true;
  }

  const DaemonSetup& setup_;
  std::span<IoSlot> slots_;
  Path path_;
  DaemonCounters& counters_;
  HandoverQueue to_serve_;
  HandoverQueue& to_commit_;
  Wakeup* wakeup_ = nullptr;
  std::atomic<Wakeup*> committer_ = nullptr;
  std::vector<Handed> answers_;
  std::optional<Error> failure_;
  std::atomic<bool> failed_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> may_end_ = false;
  std::promise<Result<>> ready_;
  std::future<Result<>> started_ = ready_.get_future();
  Result<> outcome_;
  std::thread thread_;
};

template <template <DataPath> class DeliveryOf, DataPath Path>
class OffloadDaemon final : public Daemon {
 public:
  OffloadDaemon(DaemonRings rings, DaemonSetup setup, std::vector<IoSlot> slots, const Path& path,
                const RingNeeds& worker_needs)
      : rings_(std::move(rings)),
        ring_(rings_.commands()),
        setup_(std::move(setup)),
        slots_(std::move(slots)),
        path_(path),
        counters_(*setup_.counters),
        delivery_(ring_, setup_.queues, slots_, path_, counters_, setup_.batch),
        to_commit_(slots_.size()),
        worker_(setup_, worker_needs, slots_, path_, to_commit_) {}

  Result<> arm() override {
    if (auto ready = worker_.ready(); !ready) return ready;
    auto wakeup = Wakeup::create(ring_, setup_.waiting.wake_by);
    if (!wakeup) return std::unexpected(wakeup.error());
    wakeup_ = std::move(*wakeup);
    worker_.answer_to(*wakeup_);
    if (auto armed = delivery_.arm(); !armed) return armed;
    if (const int ret = ring_.submit(0); ret < 0) return failed("io_uring_enter", "to fetch", -ret);
    return {};
  }

  Result<> serve() override {
    while (delivery_.live() && !failure_) {
      to_commit_.drain([this](const Handed& handed) {
        delivery_.commit(slots_[handed.slot], handed.slot, handed.result);
      });
      delivery_.flush();
      if (std::exchange(pushed_, false)) worker_.wake(ring_, counters_);
      wakeup_->will_sleep();
      const int ret = to_commit_.empty() && !worker_.failed_already()
                          ? ring_.submit(delivery_.wait_for())
                          : ring_.submit_and_look();
      wakeup_->awake();
      if (!worth_retrying(ret)) return failed("io_uring_enter", "of a daemon", -ret);
      ring_.reap([this](const io_uring_cqe& cqe) { completion(cqe); });
      delivery_.reaped();
      counters_.enters.add(ring_.counters().enters - counters_.enters.get());
      if (worker_.failed_already() && !failure_) failure_ = worker_.failure();
    }
    if (failure_) return std::unexpected(*failure_);
    return {};
  }

 private:
  void completion(const io_uring_cqe& cqe) {
    const UserData data = classify(cqe.user_data);
    if (data.owner == Owner::wake) return wakeup_->completion(cqe);
    auto taken = delivery_.completion(cqe, data, [this](std::uint32_t index) {
      worker_.push(index);
      pushed_ = true;
    });
    if (!taken && !failure_) failure_ = taken.error();
  }

  DaemonRings rings_;
  Ring& ring_;
  DaemonSetup setup_;
  std::vector<IoSlot> slots_;
  Path path_;
  DaemonCounters& counters_;
  DeliveryOf<Path> delivery_;
  HandoverQueue to_commit_;
  std::unique_ptr<Wakeup> wakeup_;
  bool pushed_ = false;
  std::optional<Error> failure_;
  OffloadWorker<Path> worker_;  // last: it uses all of the above, and ends first
};

}  // namespace ublkbench
