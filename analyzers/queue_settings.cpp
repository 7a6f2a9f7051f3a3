// SPDX-License-Identifier: MIT
#include "analyzers/queue_settings.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "bench/base/format.hpp"
#include "bench/record/block_queue.hpp"

namespace ublkbench::analyzers {
namespace {

constexpr const char* prefix = "queue.";

bool decides(std::string_view name) {
  return std::ranges::contains(queue_settings_that_decide, name) || name == "scheduler" ||
         name == "hardware_queues" || name == "schedulers_below";
}

/// Differences that many cells share are told once.
class Collected {
 public:
  void add(const std::string& cell, const FieldDifference& difference) {
    Cells& cells = found_[{difference.field, difference.a, difference.b}];
    if (cells.count++ == 0) cells.first = cell;
  }

  [[nodiscard]] std::vector<FieldDifference> list() const {
    std::vector<FieldDifference> list;
    for (const auto& [key, cells] : found_) {
      const auto& [field, a, b] = key;
      list.push_back({.field = field, .a = a, .b = b, .where = where(cells)});
    }
    return list;
  }

 private:
  struct Cells {
    std::size_t count = 0;
    std::string first;
  };
  static std::string where(const Cells& cells) {
    return cells.count == 1 ? cells.first
                            : formatted("{} and {} more", cells.first, cells.count - 1);
  }

  std::map<std::tuple<std::string, std::string, std::string>, Cells> found_;
};

}  // namespace

Facts deciding_settings(const std::string& queue_limits) {
  Facts settings;
  for (auto& [name, value] : values_of(queue_limits))
    if (value != "null" && decides(name)) settings.emplace(name, value);
  return settings;
}

std::vector<FieldDifference> queue_differences(const std::optional<Facts>& a,
                                               const std::optional<Facts>& b,
                                               std::span<const std::string> vary) {
  if (!a || !b || *a == *b) return {};
  Facts known_a;
  Facts known_b;
  for (const auto& [name, value] : *a) {
    const std::string* const other = fact(*b, name);
    if (other == nullptr) continue;  // one of the kernels does not have it
    known_a[prefix + name] = value;
    known_b[prefix + name] = *other;
  }
  return differences(known_a, known_b, vary);
}

QueueComparison compare_queues(std::span<const CellRecord> a, std::span<const CellRecord> b,
                               std::span<const std::string> vary) {
  QueueComparison comparison;
  Collected collected;
  std::unordered_map<std::string_view, const CellRecord*> others;
  for (const CellRecord& cell : b) others[cell.id] = &cell;
  for (const CellRecord& cell : a) {
    const auto found = others.find(cell.id);
    if (found == others.end() || cell.samples.empty() || found->second->samples.empty()) continue;
    const CellRecord& other = *found->second;
    if (!cell.queue || !other.queue) comparison.unknown.push_back(cell.id);
    for (const auto& difference : queue_differences(cell.queue, other.queue, vary))
      collected.add(cell.id, difference);
    for (const CellRecord* side : {&cell, &other})
      for (const Facts& within : side->other_queues)
        for (const auto& difference : queue_differences(side->queue, within, vary))
          collected.add(cell.id + ", within one run", difference);
  }
  comparison.unlike = collected.list();
  return comparison;
}

std::string unknown_text(std::span<const std::string> cells) {
  if (cells.empty()) return {};
  return formatted(
      "{}{}: the record does not say how the queue was set; whether its scheduler is the other "
      "side's is unknown",
      cells.front(), cells.size() > 1 ? formatted(" and {} more", cells.size() - 1) : "");
}

}  // namespace ublkbench::analyzers
