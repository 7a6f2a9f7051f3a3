// SPDX-License-Identifier: MIT
// Where a series changes its level: E-divisive (Matteson and James 2014). It finds lasting steps in
// a history, too small for a comparison of two runs; it needs several runs behind a step, so it
// reports and gates nothing.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace ublkbench::analyzers {

struct ChangePoint {
  std::size_t at = 0;  ///< the first value of the new level
  double p = 1;        ///< how often shuffled values split as far apart
};

/// A level has so many values at least: one or two that stand out are outliers.
inline constexpr std::size_t level_min = 3;
/// At most this p is a change; the permutations make it as small as 1/2000.
inline constexpr double change_p_max = 0.001;

/// Sorted by place. The permutations come from a fixed seed: the same series gives the same answer.
std::vector<ChangePoint> change_points(std::span<const double> values);

}  // namespace ublkbench::analyzers
