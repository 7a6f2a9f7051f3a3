// SPDX-License-Identifier: MIT
#include "bench/base/histogram.hpp"

#include <cmath>
#include <numeric>
#include <utility>

namespace ublkbench {

void Histogram::record(std::uint64_t value, std::uint64_t count) {
  if (count == 0) return;
  slots_[log_linear_slot(value)] += count;
  sum_ += value * count;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) slots_[slot] += other.slots_[slot];
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

void Histogram::clear() { *this = Histogram(); }

// Summed on demand: record() has one thing less to do, and nobody asks in a hot path.
std::uint64_t Histogram::count() const {
  return std::accumulate(slots_.begin(), slots_.end(), std::uint64_t{0});
}

double Histogram::mean() const {
  const std::uint64_t total = count();
  return total == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(total);
}

std::uint64_t Histogram::percentile(double percent) const {
  const std::uint64_t total = count();
  if (total == 0) return 0;
  const double exact_rank = std::ceil(percent / 100 * static_cast<double>(total));
  const auto rank = std::clamp<std::uint64_t>(
      exact_rank < 1 ? 1 : static_cast<std::uint64_t>(exact_rank), 1, total);
  std::uint64_t seen = 0;
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
    seen += slots_[slot];
    if (seen >= rank) return std::clamp(log_linear_midpoint(slot), min_, max_);
  }
  return max_;
}

Histogram Histogram::of(std::vector<std::uint64_t> slots, std::uint64_t sum, std::uint64_t min,
                        std::uint64_t max) {
  Histogram histogram;
  histogram.slots_ = std::move(slots);
  if (histogram.empty()) return histogram;
  histogram.sum_ = sum;
  histogram.min_ = min;
  histogram.max_ = max;
  return histogram;
}

}  // namespace ublkbench
