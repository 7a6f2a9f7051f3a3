// SPDX-License-Identifier: MIT
#include "analyzers/change_points.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "bench/base/random.hpp"

namespace ublkbench::analyzers {
namespace {

constexpr std::size_t permutations = 1999;

struct Split {
  std::size_t at = 0;
  double statistic = -1;
};

double pairs(double n) { return n * (n - 1) / 2; }

/// Sums of distances between any two ranges of a series, each in one step.
class Distances {
 public:
  explicit Distances(std::span<const double> values)
      : stride_(values.size() + 1), sums_(stride_ * stride_) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      double row = 0;
      for (std::size_t j = 0; j < values.size(); ++j) {
        row += std::abs(values[i] - values[j]);
        sums_[(i + 1) * stride_ + j + 1] = upto(i, j + 1) + row;
      }
    }
  }

  /// Of all pairs of values in [begin, end).
  [[nodiscard]] double within(std::size_t begin, std::size_t end) const {
    return (upto(end, end) - 2 * upto(begin, end) + upto(begin, begin)) / 2;
  }
  /// Of values before `at` and values in [at, end).
  [[nodiscard]] double across(std::size_t at, std::size_t end) const {
    return upto(at, end) - upto(at, at);
  }

 private:
  [[nodiscard]] double upto(std::size_t i, std::size_t j) const { return sums_[i * stride_ + j]; }

  std::size_t stride_;
  std::vector<double> sums_;
};

/// The split with the largest energy distance between its sides, scaled by their sizes. The right
/// side ends anywhere, so that a level that comes back hides none.
Split best_split(std::span<const double> values) {
  const Distances distances(values);
  Split best;
  for (std::size_t end = 2 * level_min; end <= values.size(); ++end)
    for (std::size_t at = level_min; at + level_min <= end; ++at) {
      const auto a = static_cast<double>(at);
      const auto b = static_cast<double>(end - at);
      const double distance = 2 * distances.across(at, end) / (a * b) -
                              distances.within(0, at) / pairs(a) -
                              distances.within(at, end) / pairs(b);
      const double statistic = a * b / (a + b) * distance;
      if (statistic > best.statistic) best = {.at = at, .statistic = statistic};
    }
  return best;
}

/// The chance that values without order split so far apart; 1 as soon as it cannot be small any
/// more.
double permutation_p(std::span<const double> values, double statistic) {
  SplitMix64 random(values.size());
  std::vector<double> shuffled(values.begin(), values.end());
  // The same values in another order add up to other last bits.
  const double as_far = statistic * (1 - 1e-9);
  std::size_t reached = 1;  // the series itself
  for (std::size_t turn = 0; turn < permutations; ++turn) {
    for (std::size_t at = shuffled.size() - 1; at > 0; --at)
      std::swap(shuffled[at], shuffled[random.below(at + 1)]);
    reached += best_split(shuffled).statistic >= as_far ? 1 : 0;
    if (static_cast<double>(reached) > change_p_max * (permutations + 1)) return 1;
  }
  return static_cast<double>(reached) / (permutations + 1);
}

void divide(std::span<const double> values, std::size_t begin, std::vector<ChangePoint>& found) {
  if (values.size() < 2 * level_min) return;
  const Split split = best_split(values);
  if (!(split.statistic > 0)) return;
  const double p = permutation_p(values, split.statistic);
  if (p > change_p_max) return;
  divide(values.first(split.at), begin, found);
  found.push_back({.at = begin + split.at, .p = p});
  divide(values.subspan(split.at), begin + split.at, found);
}

}  // namespace

std::vector<ChangePoint> change_points(std::span<const double> values) {
  std::vector<ChangePoint> found;
  divide(values, 0, found);
  return found;
}

}  // namespace ublkbench::analyzers
