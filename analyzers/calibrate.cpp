// SPDX-License-Identifier: MIT
#include "analyzers/calibrate.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bench/base/format.hpp"
#include "bench/base/random.hpp"

namespace ublkbench::analyzers {
namespace {

constexpr std::size_t trials = 1000;
constexpr double power = 0.9;

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation(std::span<const double> values) {
  const double middle = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - middle) * (value - middle);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

/// In the order in which they were measured.
std::vector<double> values_in_order(const CellRecord& cell, Figure figure) {
  std::vector<SampleFigures> samples = cell.samples;
  std::ranges::sort(samples, {}, &SampleFigures::order);
  std::vector<double> values;
  for (const SampleFigures& sample : samples)
    if (const auto value = sample.value(figure)) values.push_back(*value);
  return values;
}

/// ABBA, so that a steady drift falls on both sides alike.
Judgement judge_halves(std::span<const double> values, Better better, const Rule& rule) {
  std::vector<double> sides[2];
  for (std::size_t at = 0; at < values.size(); ++at)
    sides[at % 4 == 1 || at % 4 == 2 ? 1 : 0].push_back(values[at]);
  return judge(sides[0], sides[1], better, rule);
}

CellNoise noise_of(const CellRecord& cell, Figure figure, const Rule& rule) {
  const std::vector<double> values = values_in_order(cell, figure);
  CellNoise noise{.id = cell.id,
                  .is_control = cell.axes.is_control(),
                  .n = values.size(),
                  .failed = cell.failed,
                  .median = median(values)};
  if (values.size() < calibration_samples_min ||
      !std::ranges::all_of(values, [](double v) { return v > 0; }))
    return noise;
  const std::vector<double> logs = logarithms(values);
  const std::span all(values);
  noise.deviation = deviation(logs);
  noise.drift = *median(all.subspan(values.size() / 2)) / *median(all.first(values.size() / 2));
  noise.a_a = judge_halves(values, traits(figure).better, rule);
  for (const std::size_t n : resolution_samples)
    noise.resolved.push_back(smallest_resolved(logs, n, rule));
  return noise;
}

/// Mean length of a sample of each cell, summed over the cells.
double round_seconds(const Record& record) {
  double sum_ns = 0;
  for (const CellRecord& cell : record.cells) {
    double cell_ns = 0;
    for (const SampleFigures& sample : cell.samples)
      cell_ns += static_cast<double>(sample.elapsed_ns);
    if (!cell.samples.empty()) sum_ns += cell_ns / static_cast<double>(cell.samples.size());
  }
  return sum_ns / 1e9;
}

}  // namespace

std::optional<double> smallest_resolved(std::span<const double> logs, std::size_t n,
                                        const Rule& rule) {
  // Draws of few values vary less than what they are of: n - 1 instead of n.
  const double middle = mean(logs);
  const auto size = static_cast<double>(logs.size());
  const double widen = std::sqrt(size / (size - 1));
  SplitMix64 random(n);
  std::vector<double> sides[2] = {std::vector<double>(n), std::vector<double>(n)};
  std::vector<double> needed;  // what must be added to one side until the rule calls it worse
  for (std::size_t trial = 0; trial < trials; ++trial) {
    for (std::vector<double>& side : sides)
      for (double& value : side) value = (logs[random.below(logs.size())] - middle) * widen;
    const auto found = shift(sides[0], sides[1], rule.confidence);
    if (!found || !found->interval) return std::nullopt;
    needed.push_back(std::max(std::log1p(rule.change) - found->estimate,
                              std::log1p(rule.certain) - found->interval->low));
  }
  const auto at = static_cast<std::ptrdiff_t>(power * trials);
  std::ranges::nth_element(needed, needed.begin() + at);
  return std::expm1(needed[static_cast<std::size_t>(at)]);
}

Result<Calibration> calibrate(const Record& record, Figure figure) {
  Calibration found{.figure = figure,
                    .rule = default_rule(record.counts_instructions()),
                    .round_s = round_seconds(record)};
  for (const CellRecord& cell : record.cells) {
    found.cells.push_back(noise_of(cell, figure, found.rule));
    const Verdict verdict = found.cells.back().a_a.verdict;
    found.a_a_flags += verdict == Verdict::better || verdict == Verdict::worse ? 1 : 0;
  }
  if (std::ranges::none_of(found.cells, [](const CellNoise& c) { return c.deviation.has_value(); }))
    return bad_input(formatted("{}: no cell has {} good samples of {}", record.path,
                               calibration_samples_min, traits(figure).name),
                     "measure with --repeat 20");
  return found;
}

}  // namespace ublkbench::analyzers
