// SPDX-License-Identifier: MIT
// The statistics of all verdicts. No random numbers and no resampling: the same samples give the
// same answer everywhere. tests/python/test_statistics.py holds them against scipy.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace ublkbench::analyzers {

struct Interval {
  double low = 0;
  double high = 0;

  bool operator==(const Interval&) const = default;
};

std::vector<double> logarithms(std::span<const double> values);

/// Of an even number the mean of the two in the middle; nothing without values.
std::optional<double> median(std::span<const double> values);

/// Lowest and highest; nothing without values.
std::optional<Interval> range(std::span<const double> values);

/// Of positive values; nothing without values or with one that is not positive.
std::optional<double> geometric_mean(std::span<const double> values);

/// How far `b` lies above `a`: the Hodges-Lehmann estimate (median of all differences) and the
/// interval that inverts the exact U test. With ties the interval holds more than it promises.
struct Shift {
  double estimate = 0;
  /// Nothing where so few samples cannot be certain: 98 % needs 5 on each side.
  std::optional<Interval> interval;
};
std::optional<Shift> shift(std::span<const double> a, std::span<const double> b, double confidence);

/// The same as a ratio b/a, on logarithms; nothing unless all values are positive.
std::optional<Shift> ratio(std::span<const double> a, std::span<const double> b, double confidence);

}  // namespace ublkbench::analyzers
