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

/// Of an even number the mean of the two in the middle; nothing without values.
std::optional<double> median(std::span<const double> values);

/// Lowest and highest; nothing without values.
std::optional<Interval> range(std::span<const double> values);

/// The order statistics that hold the median with at least `confidence`, whatever the distribution
/// (exact, binomial). Nothing where even all samples are too few: below 6 at 95 %.
std::optional<Interval> median_interval(std::span<const double> values, double confidence);

/// Of positive values; nothing without values or with one that is not positive.
std::optional<double> geometric_mean(std::span<const double> values);

/// The Mann-Whitney U test, two-sided: exact without ties (where the counting is feasible), else
/// the normal approximation with corrections for ties and continuity.
struct RankTest {
  double u = 0;  ///< of the first sample
  double p = 1;
  bool exact = false;
};
std::optional<RankTest> rank_test(std::span<const double> a, std::span<const double> b);

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

/// The chance of each U = 0..n*m, if both samples are of one distribution without ties.
std::vector<double> u_distribution(std::size_t n, std::size_t m);

}  // namespace ublkbench::analyzers
