// SPDX-License-Identifier: MIT
#include "bench/base/histogram.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

namespace ublkbench {

using nlohmann::json;

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

json Histogram::to_json() const {
  json pairs = json::array();
  for (std::uint32_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot] != 0) pairs.push_back(json::array({log_linear_lowest(slot), slots_[slot]}));
  return {{"sub_buckets_per_power_of_two", LOG_LINEAR_SUB_BUCKETS},
          {"count", count()},
          {"min", min()},
          {"max", max()},
          {"sum", sum()},
          {"p50", percentile(50)},
          {"p90", percentile(90)},
          {"p99", percentile(99)},
          {"p999", percentile(99.9)},
          {"slots", std::move(pairs)}};
}

namespace {

Result<std::uint64_t> number(const json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end() || !at->is_number_unsigned())
    return bad_input(std::format("histogram: '{}' is missing or not a number", key));
  return at->get<std::uint64_t>();
}

bool is_pair(const json& pair) {
  return pair.is_array() && pair.size() == 2 && pair[0].is_number_unsigned() &&
         pair[1].is_number_unsigned();
}

}  // namespace

Result<Histogram> Histogram::from_json(const json& object) {
  if (!object.is_object()) return bad_input("histogram: not a JSON object");
  std::uint64_t fields[5] = {};
  constexpr const char* keys[5] = {"sub_buckets_per_power_of_two", "count", "min", "max", "sum"};
  for (int i = 0; i < 5; ++i) {
    const auto value = number(object, keys[i]);
    if (!value) return std::unexpected(value.error());
    fields[i] = *value;
  }
  if (fields[0] != LOG_LINEAR_SUB_BUCKETS)
    return bad_input(std::format("histogram: {} sub-buckets per power of two, expected {}",
                                 fields[0], LOG_LINEAR_SUB_BUCKETS));
  const auto pairs = object.find("slots");
  if (pairs == object.end() || !pairs->is_array())
    return bad_input("histogram: 'slots' is missing or not an array");
  Histogram histogram;
  for (const json& pair : *pairs) {
    if (!is_pair(pair)) return bad_input("histogram: a slot is not [lowest, count]");
    const auto lowest = pair[0].get<std::uint64_t>();
    const std::uint32_t slot = log_linear_slot(lowest);
    if (log_linear_lowest(slot) != lowest)
      return bad_input(std::format("histogram: {} is not the lowest value of a slot", lowest));
    histogram.slots_[slot] += pair[1].get<std::uint64_t>();
  }
  if (histogram.count() != fields[1])
    return bad_input("histogram: the slots do not add up to 'count'");
  if (fields[1] == 0) return histogram;
  histogram.min_ = fields[2];
  histogram.max_ = fields[3];
  histogram.sum_ = fields[4];
  return histogram;
}

}  // namespace ublkbench
