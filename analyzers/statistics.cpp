// SPDX-License-Identifier: MIT
#include "analyzers/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace ublkbench::analyzers {
namespace {

/// Above this many pairs the exact distribution is not worth its time; the normal one is as good.
constexpr std::size_t exact_pairs_max = 2500;

std::vector<double> sorted(std::span<const double> values) {
  std::vector<double> copy(values.begin(), values.end());
  std::ranges::sort(copy);
  return copy;
}

/// Halves first, so that huge values do not overflow.
double middle(double low, double high) { return low / 2 + high / 2; }

double median_of_sorted(const std::vector<double>& values) {
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : middle(values[half - 1], values[half]);
}

/// Median of values that need not be sorted, in linear time; reorders them.
double median_of(std::vector<double>& values) {
  const auto half = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, half);
  if (values.size() % 2 == 1) return *half;
  return middle(*std::max_element(values.begin(), half), *half);
}

double normal_upper_tail(double z) { return 0.5 * std::erfc(z / std::sqrt(2.0)); }

/// The chance of each U = 0..n*m, if both samples are of one distribution without ties.
std::vector<double> u_distribution(std::size_t n, std::size_t m) {
  // The largest value is of the first sample with the chance n/(n+m), and then exceeds all m of the
  // second. Only sums of positive terms, so that tiny chances are as exact as large ones.
  std::vector<std::vector<double>> row(m + 1);  // row[j]: of i and j samples
  for (std::size_t j = 0; j <= m; ++j) row[j] = {1.0};
  for (std::size_t i = 1; i <= n; ++i)
    for (std::size_t j = 1; j <= m; ++j) {
      const double of_first = static_cast<double>(i) / static_cast<double>(i + j);
      std::vector<double> chances(i * j + 1, 0.0);
      for (std::size_t u = 0; u < row[j].size(); ++u) chances[u + j] += of_first * row[j][u];
      for (std::size_t u = 0; u < row[j - 1].size(); ++u)
        chances[u] += (1 - of_first) * row[j - 1][u];
      row[j] = std::move(chances);
    }
  return row[m];
}

/// Thousands of cells have the same few sizes.
const std::vector<double>& known_u_distribution(std::size_t n, std::size_t m) {
  thread_local std::map<std::pair<std::size_t, std::size_t>, std::vector<double>> known;
  auto [found, is_new] = known.try_emplace({n, m});
  if (is_new) found->second = u_distribution(n, m);
  return found->second;
}

/// The largest c with 2 * P(X < c) <= 1 - confidence, for cumulative chances; 0 when there is none.
std::size_t cut(const std::vector<double>& chances, double confidence) {
  double below = 0;
  std::size_t count = 0;
  while (count < chances.size() / 2 && 2 * (below + chances[count]) <= 1 - confidence)
    below += chances[count++];
  return count;
}

/// How many of the sorted differences lie outside the interval on each side; 0: too few samples.
std::size_t differences_outside(std::size_t n, std::size_t m, double confidence) {
  if (n * m <= exact_pairs_max) return cut(known_u_distribution(n, m), confidence);
  const double pairs = static_cast<double>(n * m);
  const double deviation = std::sqrt(pairs * static_cast<double>(n + m + 1) / 12);
  // The z with 2 * upper_tail(z) = 1 - confidence, by bisection: exact enough, and no table.
  double low = 0;
  double high = 40;
  for (int turn = 0; turn < 100; ++turn) {
    const double z = (low + high) / 2;
    (2 * normal_upper_tail(z) > 1 - confidence ? low : high) = z;
  }
  const double outside = std::floor(pairs / 2 - high * deviation - 0.5);
  return outside > 0 ? static_cast<std::size_t>(outside) : 0;
}

bool all_positive(std::span<const double> values) {
  return std::ranges::all_of(values, [](double v) { return v > 0 && std::isfinite(v); });
}

}  // namespace

std::vector<double> logarithms(std::span<const double> values) {
  std::vector<double> logs;
  for (const double value : values) logs.push_back(std::log(value));
  return logs;
}

std::optional<double> median(std::span<const double> values) {
  if (values.empty()) return std::nullopt;
  return median_of_sorted(sorted(values));
}

std::optional<Interval> range(std::span<const double> values) {
  if (values.empty()) return std::nullopt;
  const auto [low, high] = std::ranges::minmax(values);
  return Interval{.low = low, .high = high};
}

std::optional<double> geometric_mean(std::span<const double> values) {
  if (values.empty() || !all_positive(values)) return std::nullopt;
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / static_cast<double>(values.size()));
}

std::optional<Shift> shift(std::span<const double> a, std::span<const double> b,
                           double confidence) {
  if (a.empty() || b.empty()) return std::nullopt;
  std::vector<double> differences;
  differences.reserve(a.size() * b.size());
  for (const double x : a)
    for (const double y : b) differences.push_back(y - x);
  Shift found;
  const std::size_t outside = differences_outside(a.size(), b.size(), confidence);
  found.estimate = median_of(differences);
  if (outside == 0) return found;
  const auto nth = [&](std::size_t at) {
    std::ranges::nth_element(differences, differences.begin() + static_cast<std::ptrdiff_t>(at));
    return differences[at];
  };
  found.interval = Interval{.low = nth(outside - 1), .high = nth(differences.size() - outside)};
  return found;
}

std::optional<Shift> ratio(std::span<const double> a, std::span<const double> b,
                           double confidence) {
  if (!all_positive(a) || !all_positive(b)) return std::nullopt;
  auto found = shift(logarithms(a), logarithms(b), confidence);
  if (!found) return std::nullopt;
  found->estimate = std::exp(found->estimate);
  if (found->interval)
    found->interval = {.low = std::exp(found->interval->low),
                       .high = std::exp(found->interval->high)};
  return found;
}

}  // namespace ublkbench::analyzers
