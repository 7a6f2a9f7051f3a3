// SPDX-License-Identifier: MIT
#include "bench/record/server_usage.hpp"

#include <algorithm>

namespace ublkbench {

double EventSizes::mean() const {
  std::uint64_t events = 0;
  std::uint64_t total = 0;
  for (const auto& [size, count] : size_events) {
    events += count;
    total += size * count;
  }
  return events == 0 ? 0 : static_cast<double>(total) / static_cast<double>(events);
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
