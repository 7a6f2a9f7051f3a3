// SPDX-License-Identifier: MIT
// The analyzers' statistics for test_statistics.py: a JSON object a line in, a line out.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "analyzers/change_points.hpp"
#include "analyzers/statistics.hpp"
#include "bench/base/histogram.hpp"

namespace {

using namespace ublkbench;
using namespace ublkbench::analyzers;
using nlohmann::json;

json number(const std::optional<double>& value) { return value ? json(*value) : json(); }

json interval_json(const std::optional<Interval>& interval) {
  return interval ? json{interval->low, interval->high} : json();
}

json shift_json(const std::optional<Shift>& shift) {
  if (!shift) return nullptr;
  return {{"estimate", shift->estimate}, {"interval", interval_json(shift->interval)}};
}

json percentiles(const json& request) {
  Histogram histogram;
  for (const json& value : request["a"]) histogram.record(value.get<std::uint64_t>());
  json answer = json::array();
  for (const json& percent : request["percents"])
    answer.push_back(histogram.percentile(percent.get<double>()));
  return {{"percentiles", answer}};
}

json changes(const json& request) {
  json found = json::array();
  for (const ChangePoint& change : change_points(request["series"].get<std::vector<double>>()))
    found.push_back({{"at", change.at}, {"p", change.p}});
  return {{"changes", found}};
}

json answer(const json& request) {
  if (request.contains("series")) return changes(request);
  if (request.contains("percents")) return percentiles(request);
  const auto a = request["a"].get<std::vector<double>>();
  const auto b = request.value("b", std::vector<double>());
  const double confidence = request.value("confidence", 0.95);
  return {{"median", number(median(a))},
          {"geometric_mean", number(geometric_mean(a))},
          {"shift", shift_json(shift(a, b, confidence))},
          {"ratio", shift_json(ratio(a, b, confidence))}};
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);)
    std::cout << answer(json::parse(line)).dump() << '\n';
  return 0;
}
