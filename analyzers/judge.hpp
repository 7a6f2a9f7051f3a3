// SPDX-License-Identifier: MIT
// The one rule for "slower": large enough and certain enough. Number, interval and verdict come
// from the same calculation, so they cannot contradict each other.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "analyzers/figures.hpp"
#include "analyzers/statistics.hpp"

namespace ublkbench::analyzers {

enum class Verdict : std::uint8_t {
  same,          ///< the interval lies within the threshold
  better,        ///< beyond the threshold, and certainly better
  worse,         ///< beyond the threshold, and certainly worse
  unclear,       ///< neither: small, or not certain
  unmeasurable,  ///< too few samples, or an interval that is too wide
};
std::string_view name_of(Verdict verdict);

struct Rule {
  double change = 0.05;   ///< T: a smaller change does not count
  double certain = 0.01;  ///< E: the interval's near end must be beyond this
  double widest = 0.05;  ///< an interval whose half is wider and that decides nothing: unmeasurable
  double confidence = 0.98;
  /// Figures without noise of time, as instruction counts are: where there are too few samples for
  /// a confidence interval, the range of the samples stands in for it.
  bool counted = false;
};

/// For times: 5 % and 1 %. For counted figures: 0.5 %, and the interval beyond 1; three boots of
/// one program differ by up to 1 %, where timer ticks and turns of the two sides fall differently.
Rule default_rule(bool counted);

struct Judgement {
  std::size_t n_a = 0;
  std::size_t n_b = 0;
  std::optional<double> median_a;
  std::optional<double> median_b;
  std::optional<double> ratio;  ///< b/a
  std::optional<Interval> interval;
  std::string_view interval_kind;  ///< "hodges-lehmann", "range" or empty
  Verdict verdict = Verdict::unmeasurable;
  std::string why;  ///< of unmeasurable
};

Judgement judge(std::span<const double> a, std::span<const double> b, Better better,
                const Rule& rule);

}  // namespace ublkbench::analyzers
