// SPDX-License-Identifier: MIT
// A histogram as records have it: its percentiles, and the slots that have counts.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "bench/base/histogram.hpp"
#include "bench/record/fields.hpp"

namespace ublkbench {

struct Distribution {
  std::uint64_t sub_buckets_per_power_of_two = LOG_LINEAR_SUB_BUCKETS;
  std::uint64_t count = 0;
  std::uint64_t min = 0;
  std::uint64_t max = 0;
  std::uint64_t sum = 0;
  // See Histogram::percentile().
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double p999 = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> slots;  ///< lowest value and count of each

  [[nodiscard]] double mean() const {
    return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count);
  }
  bool operator==(const Distribution&) const = default;

  static constexpr auto fields() {
    using D = Distribution;
    return std::tuple(field("sub_buckets_per_power_of_two", &D::sub_buckets_per_power_of_two),
                      field("count", &D::count), field("min", &D::min), field("max", &D::max),
                      field("sum", &D::sum), field("p50", &D::p50), field("p90", &D::p90),
                      field("p99", &D::p99), field("p999", &D::p999), field("slots", &D::slots));
  }
};

Distribution distribution_of(const Histogram& histogram);

}  // namespace ublkbench
