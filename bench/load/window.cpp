// SPDX-License-Identifier: MIT
#include "bench/load/window.hpp"

#include <algorithm>

#include "bench/base/clock.hpp"

namespace ublkbench::load {

// Without a target the only mark is the one that close() makes claims jump over.
Window::Window(std::uint64_t target_ios, unsigned jobs, WindowObserver observer)
    : cold_jobs_(jobs),
      marks_{target_ios / 3, target_ios - target_ios / 3, target_ios},
      observer_(std::move(observer)) {
  if (target_ios == 0) marks_.fill(closed);
}

void Window::job_is_warm() {
  if (cold_jobs_.fetch_sub(1, std::memory_order_acq_rel) == 1 && !slow_to_open()) open();
}

void Window::open_slowly() {
  if (observer_.before) observer_.before();
  open();
}

void Window::open() {
  Phase expected = Phase::warming;
  if (!phase_.compare_exchange_strong(expected, Phase::opening, std::memory_order_acq_rel)) return;
  // The instant is taken first: taken after a slow observer, I/Os that completed meanwhile would
  // come for free.
  begin_ns_ = now_ns();
  if (observer_.begin) observer_.begin();
  phase_.store(Phase::measuring, std::memory_order_release);
}

bool Window::close() {
  Phase expected = Phase::measuring;
  if (phase_.compare_exchange_strong(expected, Phase::ending, std::memory_order_acq_rel)) {
    end_ns_ = now_ns();
    counted_.fetch_add(closed, std::memory_order_relaxed);
    return true;
  }
  expected = Phase::warming;
  phase_.compare_exchange_strong(expected, Phase::ending, std::memory_order_acq_rel);
  return false;
}

void Window::notify_end() {
  if (observer_.end) observer_.end();
}

std::uint64_t Window::claim_at_mark(std::uint64_t before, std::uint64_t completions,
                                    Cursor& cursor) {
  const std::uint64_t after = before + completions;
  const std::uint64_t target = marks_[2];
  const auto crosses = [&](std::uint64_t mark) { return before < mark && mark <= after; };
  for (unsigned third = 0; third < 2; ++third)
    if (crosses(marks_[third])) mark_ns_[third] = now_ns();
  if (crosses(target)) cursor.closed_window = close();
  const auto* const next = std::ranges::find_if(marks_, [&](auto mark) { return mark > after; });
  cursor.next_mark = next == marks_.end() ? target : *next;
  return before >= target ? 0 : std::min(completions, target - before);
}

}  // namespace ublkbench::load
