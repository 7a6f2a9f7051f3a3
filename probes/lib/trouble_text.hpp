// SPDX-License-Identifier: MIT
// What a probe says of events that are not in its histograms, or are in them twice.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "bench/base/format.hpp"

namespace ublkbench::probes {

/// A counter of a record's totals, and what is wrong when it is not 0.
template <class Totals>
struct Trouble {
  std::uint64_t Totals::* counter;
  const char* meaning;
};

/// A line "COUNT MEANING" for each counter that is not 0.
template <class Totals>
std::string trouble_text(const Totals& totals, std::span<const Trouble<Totals>> troubles) {
  std::string text;
  for (const auto& [counter, meaning] : troubles)
    if (totals.*counter != 0) text += formatted("{} {}\n", totals.*counter, meaning);
  return text;
}

}  // namespace ublkbench::probes
