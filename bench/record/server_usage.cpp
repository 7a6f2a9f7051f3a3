// SPDX-License-Identifier: MIT
#include "bench/record/server_usage.hpp"

#include <algorithm>
#include <utility>

namespace ublkbench {

EventSizes event_sizes(SizeEvents size_events) {
  std::uint64_t events = 0;
  std::uint64_t total = 0;
  for (const auto& [size, count] : size_events) {
    events += count;
    total += size * count;
  }
  return {.mean = events == 0 ? 0 : static_cast<double>(total) / static_cast<double>(events),
          .size_events = std::move(size_events)};
}

void subtract(EventSizes& later, const EventSizes& earlier) {
  subtract(later.size_events, earlier.size_events);
  later = event_sizes(std::move(later.size_events));
}

ServerUsage operator-(const ServerUsage& later, const ServerUsage& earlier) {
  ServerUsage between = later;
  subtract(between, earlier);
  return between;
}

ProcessUsage operator-(const ProcessUsage& later, const ProcessUsage& earlier) {
  ProcessUsage between = later;
  between.cpu_ns -= earlier.cpu_ns;
  for (TaskUsage& task : between.tasks)
    if (const auto before = std::ranges::find(earlier.tasks, task.task, &TaskUsage::task);
        before != earlier.tasks.end())
      task.cpu_ns -= before->cpu_ns;
  return between;
}

}  // namespace ublkbench
