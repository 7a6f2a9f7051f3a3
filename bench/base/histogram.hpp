// SPDX-License-Identifier: MIT
// A histogram of unsigned values on the slots of log_linear.h, in fixed memory (30 kB). Not
// synchronised: one per thread, merged afterwards. Units are the user's: keys that hold one carry
// them ("latency_ns").
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "bench/base/log_linear.h"

namespace ublkbench {

class Histogram {
 public:
  Histogram() : slots_(LOG_LINEAR_SLOTS) {}

  void record(std::uint64_t value) {
    ++slots_[log_linear_slot(value)];
    sum_ += value;
    min_ = std::min(min_, value);
    max_ = std::max(max_, value);
  }
  /// `count` times the same value; nothing at all when `count` is 0.
  void record(std::uint64_t value, std::uint64_t count);

  void merge(const Histogram& other);
  void clear();

  [[nodiscard]] bool empty() const { return count() == 0; }
  [[nodiscard]] std::uint64_t count() const;
  [[nodiscard]] std::uint64_t sum() const { return sum_; }                ///< exact, modulo 2^64
  [[nodiscard]] std::uint64_t min() const { return empty() ? 0 : min_; }  ///< exact; 0 when empty
  [[nodiscard]] std::uint64_t max() const { return max_; }                ///< exact; 0 when empty
  [[nodiscard]] double mean() const;                                      ///< exact; 0 when empty

  /// The nearest-rank percentile, `percent` in 0..100: the value of rank ceil(percent/100 * count),
  /// at least 1, given as the midpoint of its slot and clamped to [min, max]. Exact below 128,
  /// within 0.8 % above; 0 when empty.
  [[nodiscard]] std::uint64_t percentile(double percent) const;

  /// The count of each slot of log_linear.h.
  [[nodiscard]] const std::vector<std::uint64_t>& slots() const { return slots_; }
  /// Of what was counted elsewhere: LOG_LINEAR_SLOTS counts, and what they are the counts of.
  static Histogram of(std::vector<std::uint64_t> slots, std::uint64_t sum, std::uint64_t min,
                      std::uint64_t max);

  bool operator==(const Histogram&) const = default;

 private:
  std::vector<std::uint64_t> slots_;  // never resized
  std::uint64_t sum_ = 0;
  std::uint64_t min_ = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t max_ = 0;
};

}  // namespace ublkbench
