// SPDX-License-Identifier: MIT
#include "analyzers/judge.hpp"

#include <algorithm>
#include <utility>

#include "bench/base/format.hpp"

namespace ublkbench::analyzers {
namespace {

/// What one side's lowest is to the other's highest, and the reverse.
std::optional<Interval> ratio_of_ranges(std::span<const double> a, std::span<const double> b) {
  if (a.size() < 2 || b.size() < 2) return std::nullopt;
  const Interval of_a = *range(a);
  const Interval of_b = *range(b);
  return Interval{.low = of_b.low / of_a.high, .high = of_b.high / of_a.low};
}

/// `cost` is how many times as much b costs, whichever way the figure runs.
Verdict verdict_of(double cost, Interval interval, const Rule& rule) {
  const double large = 1 + rule.change;
  const double certain = 1 + rule.certain;
  if (cost > large && interval.low > certain) return Verdict::worse;
  if (cost < 1 / large && interval.high < 1 / certain) return Verdict::better;
  if (interval.low >= 1 / large && interval.high <= large) return Verdict::same;
  const double half_width = (interval.high - interval.low) / 2 / cost;
  return half_width > rule.widest ? Verdict::unmeasurable : Verdict::unclear;
}

void add_ratio(Judgement& found, std::span<const double> a, std::span<const double> b,
               const Rule& rule) {
  const auto shift = ratio(a, b, rule.confidence);
  if (!shift) {
    found.why = "a value is not positive";
    return;
  }
  found.ratio = shift->estimate;
  found.interval = shift->interval;
  found.interval_kind = "hodges-lehmann";
  if (found.interval) return;
  found.interval_kind = {};
  if (rule.counted) found.interval = ratio_of_ranges(a, b);
  if (found.interval)
    found.interval_kind = "range";
  else
    found.why = formatted("{} and {} samples are too few", a.size(), b.size());
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  constexpr std::string_view names[] = {"same", "better", "worse", "unclear", "unmeasurable"};
  return names[static_cast<int>(verdict)];
}

Rule default_rule(bool counted) {
  return counted ? Rule{.change = 0.005, .certain = 0, .widest = 0.01, .counted = true} : Rule{};
}

Judgement judge(std::span<const double> a, std::span<const double> b, Better better,
                const Rule& rule) {
  Judgement found{.n_a = a.size(), .n_b = b.size(), .median_a = median(a), .median_b = median(b)};
  if (a.empty() || b.empty()) {
    found.why = a.empty() && b.empty() ? "not measured" : "measured on one side only";
    return found;
  }
  add_ratio(found, a, b, rule);
  if (!found.interval) return found;
  if (better == Better::higher)
    found.verdict = verdict_of(
        1 / *found.ratio, {.low = 1 / found.interval->high, .high = 1 / found.interval->low}, rule);
  else
    found.verdict = verdict_of(*found.ratio, *found.interval, rule);
  if (better == Better::neither &&
      (found.verdict == Verdict::worse || found.verdict == Verdict::better))
    found.verdict = Verdict::unclear;
  if (found.verdict == Verdict::unmeasurable)
    found.why = formatted("the interval is wider than +-{:.3g} %", 100 * rule.widest);
  return found;
}

}  // namespace ublkbench::analyzers
