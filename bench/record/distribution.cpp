// SPDX-License-Identifier: MIT
#include "bench/record/distribution.hpp"

namespace ublkbench {

Distribution distribution_of(const Histogram& histogram) {
  const auto at = [&](double percent) {
    return static_cast<double>(histogram.percentile(percent));
  };
  Distribution distribution{.count = histogram.count(),
                            .min = histogram.min(),
                            .max = histogram.max(),
                            .sum = histogram.sum(),
                            .p50 = at(50),
                            .p90 = at(90),
                            .p99 = at(99),
                            .p999 = at(99.9),
                            .slots = {}};
  const auto& slots = histogram.slots();
  for (std::uint32_t slot = 0; slot < slots.size(); ++slot)
    if (slots[slot] != 0) distribution.slots.emplace_back(log_linear_lowest(slot), slots[slot]);
  return distribution;
}

}  // namespace ublkbench
