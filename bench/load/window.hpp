// SPDX-License-Identifier: MIT
// The measured part of a run, shared by its jobs. All jobs first keep the device busy until each is
// warm; then the window opens under full load, without draining, and closes at a number of I/Os or
// at a point in time. Owns the phase, the count of measured I/Os and the window's instants.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>

namespace ublkbench::load {

/// Called once each at the window's edges, by the thread that opens or closes it: a job, or the
/// supervisor. That job issues nothing meanwhile, so keep both short. `begin` runs just after the
/// window's first instant, `end` just after its last. When a run ends before it is warm neither is
/// called.
///
/// `before` is for what takes longer: called once by the supervisor when all jobs are warm, just
/// before the window opens. The jobs go on at full load meanwhile, so that it costs no I/O.
struct WindowObserver {
  std::function<void()> before = {};
  std::function<void()> begin;
  std::function<void()> end;
};

enum class Phase : std::uint32_t { warming, opening, measuring, ending };

class Window {
 public:
  /// `target_ios` 0: the window is closed from outside.
  Window(std::uint64_t target_ios, unsigned jobs, WindowObserver observer);

  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_acquire); }

  /// Said once by each job; the last one opens the window, or leaves it to the supervisor to call
  /// open_slowly().
  void job_is_warm();
  [[nodiscard]] bool waits_to_be_opened() const {
    return slow_to_open() && cold_jobs_.load(std::memory_order_acquire) == 0 &&
           phase() == Phase::warming;
  }
  /// Calls `before`, and opens the window if the run has not ended meanwhile.
  void open_slowly();
  /// Opens the window if it still waits to be opened, and calls the observer.
  void open();

  /// What a job remembers between claims.
  struct Cursor {
    std::uint64_t next_mark;
    bool closed_window = false;  ///< this job closed it and must call notify_end()
  };
  [[nodiscard]] Cursor cursor() const { return {.next_mark = marks_[0]}; }

  /// Counts `completions` and says how many of them belong to the window: all, except around its
  /// end. The job that crosses the target closes the window.
  std::uint64_t claim(std::uint64_t completions, Cursor& cursor) {
    const std::uint64_t before = counted_.fetch_add(completions, std::memory_order_relaxed);
    if (before + completions >= cursor.next_mark) [[unlikely]]
      return claim_at_mark(before, completions, cursor);
    return completions;
  }

  /// Ends the run: closes an open window, or gives up warming. True for the one caller that closed
  /// an open window; it must call notify_end() when it has taken its own figures.
  bool close();
  void notify_end();

  /// Stuck I/Os are not to be waited for any longer.
  void abandon() { abandoned_.store(true, std::memory_order_release); }
  [[nodiscard]] bool abandoned() const { return abandoned_.load(std::memory_order_acquire); }

  // The following are stable once all jobs have ended.
  [[nodiscard]] bool opened() const { return begin_ns_ != 0; }
  [[nodiscard]] std::uint64_t begin_ns() const { return begin_ns_; }
  [[nodiscard]] std::uint64_t end_ns() const { return end_ns_; }
  /// Instants at which one and two thirds of the target were reached; 0 without a target.
  [[nodiscard]] std::uint64_t third_ns(unsigned third) const { return mark_ns_[third - 1]; }

  /// I/Os counted so far; for progress and for thirds of a window of fixed time.
  [[nodiscard]] std::uint64_t counted() const {
    const std::uint64_t count = counted_.load(std::memory_order_relaxed);
    return count >= closed ? count - closed : count;
  }

 private:
  // Added to the count when the window closes: later claims find themselves beyond every target.
  static constexpr std::uint64_t closed = 1ULL << 62;
  static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

  [[nodiscard]] bool slow_to_open() const { return static_cast<bool>(observer_.before); }
  std::uint64_t claim_at_mark(std::uint64_t before, std::uint64_t completions, Cursor& cursor);

  // Written once per batch by every job; the rest is read-mostly and must not share its line.
  alignas(64) std::atomic<std::uint64_t> counted_{0};

  alignas(64) std::atomic<Phase> phase_{Phase::warming};
  std::atomic<bool> abandoned_{false};
  std::atomic<unsigned> cold_jobs_;
  std::array<std::uint64_t, 3> marks_;  // one third, two thirds, all; the last one never rises
  std::array<std::uint64_t, 2> mark_ns_{};
  std::uint64_t begin_ns_ = 0;
  std::uint64_t end_ns_ = 0;
  WindowObserver observer_;
};

}  // namespace ublkbench::load
