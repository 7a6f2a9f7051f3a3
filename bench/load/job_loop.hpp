// SPDX-License-Identifier: MIT
// The hot path: take free slots, fill SQEs, enter, reap. Everything that varies between loads but
// not within one is a template parameter, so that what is switched off costs no instruction.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "bench/base/clock.hpp"
#include "bench/load/job.hpp"

namespace ublkbench::load {

enum class Direction { read, write, mixed };
enum class Pace { closed, open };
enum class Latency { off, on };

/// Instants at constant intervals, exact to 2^-32 ns, so that a rate does not drift.
class Schedule {
 public:
  Schedule(std::uint64_t first_ns, double interval_ns)
      : due_ns_(first_ns),
        interval_ns_(static_cast<std::uint64_t>(interval_ns)),
        interval_fraction_(static_cast<std::uint32_t>(
            (interval_ns - static_cast<double>(interval_ns_)) * 4294967296.0)) {}
  [[nodiscard]] std::uint64_t due_ns() const { return due_ns_; }
  std::uint64_t take() {
    const std::uint64_t due = due_ns_;
    const std::uint64_t fraction = std::uint64_t{fraction_} + interval_fraction_;
    fraction_ = static_cast<std::uint32_t>(fraction);
    due_ns_ += interval_ns_ + (fraction >> 32);
    return due;
  }

 private:
  std::uint64_t due_ns_;
  std::uint64_t interval_ns_;
  std::uint32_t interval_fraction_;
  std::uint32_t fraction_ = 0;
};

template <Direction direction, class Offsets, Pace pace, Latency latency>
class JobLoop final : public Job {
  static constexpr bool reads_clock = pace == Pace::open || latency == Latency::on;

 public:
  JobLoop(std::shared_ptr<RunContext> run, unsigned index)
      : Job(std::move(run), index),
        offsets_(job_range(), options().block_bytes),
        schedule_(0, 0),
        submit_batch_(options().effective_submit_batch()),
        complete_batch_(options().effective_complete_batch()),
        block_bytes_(static_cast<std::int32_t>(options().block_bytes)) {
    // A read happens when a random 32-bit number is below this; 100 % is beyond every one.
    read_threshold_ = (std::uint64_t{options().rw_mix_read_percent} << 32) / 100;
  }

 private:
  void prepare() override {
    if constexpr (reads_clock) now_ = now_ns();
    if constexpr (pace == Pace::open) {
      const double interval = 1e9 * options().jobs / static_cast<double>(options().rate_iops);
      const double phase = interval * index_ / options().jobs;  // jobs take turns
      schedule_ = Schedule(now_ + static_cast<std::uint64_t>(phase), interval);
    }
  }

  void cycle() override { (void)turn<false>(); }

  void measured_cycles() override {
    while (window_.phase() == Phase::measuring) {
      const auto [submitted, completed] = turn<true>();
      ++submit_counts_[submitted];
      ++complete_counts_[completed];
      ++enters_;
    }
  }

  void drain_cycle() override {
    enter(std::min(1U, in_flight()));
    (void)reap<false>();
  }

  template <bool measured>
  std::pair<unsigned, unsigned> turn() {
    const unsigned submitted = submit_new();
    wait();
    return {submitted, reap<measured>()};
  }

  /// Queues SQEs for free slots, up to the batch and, open loop, up to what is due.
  unsigned submit_new() {
    const unsigned limit = std::min(free_count_, submit_batch_);
    unsigned count = 0;
    for (; count < limit; ++count) {
      if constexpr (pace == Pace::open)
        if (schedule_.due_ns() > now_) break;
      const std::uint32_t slot = free_[--free_count_];
      const std::uint64_t random = random_.next();
      io_uring_sqe& pattern = templates_[slot];
      if constexpr (direction == Direction::mixed) choose_direction(pattern, random);
      pattern.off = offsets_.pick(random);
      *ring_->uncleared_sqe() = pattern;
      if constexpr (pace == Pace::open)
        start_ns_[slot] = schedule_.take();
      else if constexpr (latency == Latency::on)
        start_ns_[slot] = now_;
    }
    return count;
  }

  /// The low half decides the direction; the offset comes from the high bits of the same number.
  void choose_direction(io_uring_sqe& pattern, std::uint64_t random) const {
    const bool read = static_cast<std::uint32_t>(random) < read_threshold_;
    pattern.opcode = read ? read_opcode() : write_opcode();
  }
  [[nodiscard]] std::uint8_t read_opcode() const {
    return options().fixed_buffers ? IORING_OP_READ_FIXED : IORING_OP_READ;
  }
  [[nodiscard]] std::uint8_t write_opcode() const {
    return options().fixed_buffers ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE;
  }
  [[nodiscard]] bool is_write(std::uint32_t slot) const {
    if constexpr (direction != Direction::mixed) return direction == Direction::write;
    const std::uint8_t opcode = templates_[slot].opcode;
    return opcode == IORING_OP_WRITE_FIXED || opcode == IORING_OP_WRITE;
  }

  void wait() {
    if constexpr (pace == Pace::open) wait_until_due();
    // As long as there is more to submit nothing is waited for; then for a batch of completions.
    else
      enter(free_count_ != 0 ? 0 : complete_batch_);
  }

  void wait_until_due() {
    if (free_count_ == 0) return enter(1);
    if (schedule_.due_ns() <= now_) return enter(0);
    if (const int ret = ring_->submit_timeout(1, schedule_.due_ns() - now_); ret < 0)
      enter_failed(ret);
    now_ = now_ns();
  }

  void enter(unsigned wait_for) {
    if (const int ret = ring_->submit(wait_for); ret < 0) [[unlikely]]
      enter_failed(ret);
    if constexpr (reads_clock) now_ = now_ns();
  }

  /// Takes all completions that are there. The window is asked how many belong to it before any is
  /// looked at, so that every figure covers the same I/Os.
  template <bool measured>
  unsigned reap() {
    const unsigned ready = ring_->completions_ready();
    std::uint64_t counted = 0;
    if constexpr (measured) {
      counted = window_.claim(ready, cursor_);
      claimed_ += counted;
    }
    const auto first = static_cast<unsigned>(counted);
    ring_->reap(first, [this](const io_uring_cqe& cqe) { complete<true>(cqe); });
    ring_->reap(ready - first, [this](const io_uring_cqe& cqe) { complete<false>(cqe); });
    completed_ += ready;
    // Idle with nothing in flight (open loop) is no hang either.
    if (ready != 0 || in_flight() == 0)
      heartbeat_.store(heartbeat_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return ready;
  }

  template <bool counted>
  void complete(const io_uring_cqe& cqe) {
    const auto slot = static_cast<std::uint32_t>(cqe.user_data);
    free_[free_count_++] = slot;
    if (cqe.res != block_bytes_) [[unlikely]] {
      if (!odd_completion(slot, cqe.res, counted)) return;
    }
    if constexpr (counted) {
      const bool write = is_write(slot);
      if constexpr (direction == Direction::mixed) claimed_writes_ += write ? 1 : 0;
      if constexpr (latency == Latency::on)
        (write ? write_latency_ns_ : read_latency_ns_).record(now_ - start_ns_[slot]);
    }
  }

  Offsets offsets_;
  Schedule schedule_;
  std::uint64_t read_threshold_;
  std::uint64_t now_ = 0;  // after the last enter
  unsigned submit_batch_;
  unsigned complete_batch_;
  std::int32_t block_bytes_;
};

}  // namespace ublkbench::load
