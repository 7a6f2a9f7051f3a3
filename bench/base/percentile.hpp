// SPDX-License-Identifier: MIT
// When a percentile is more than chance.
#pragma once

#include <cstdint>

namespace ublkbench {

/// How many values leave ten beyond a percentile; of fewer it is a matter of chance.
constexpr std::uint64_t values_needed(double percent) {
  return static_cast<std::uint64_t>(10 / (1 - percent / 100) + 0.5);
}

/// What stands before a percentile in tables that are narrow: "~" where fewer than ten values are
/// beyond it.
constexpr std::string_view thin_mark(std::uint64_t values, double percent) {
  return values < values_needed(percent) ? "~" : "";
}
inline constexpr std::string_view thin_legend = "~: fewer than ten are beyond this percentile";

}  // namespace ublkbench
