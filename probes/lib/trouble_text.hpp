// SPDX-License-Identifier: MIT
// What a probe says of events that are not in its histograms, or are in them twice.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

namespace ublkbench::probes {

/// A counter of a record's "totals", and what is wrong when it is not 0.
struct Trouble {
  const char* counter;
  const char* meaning;
};

/// A line "COUNT MEANING" for each counter that is not 0.
std::string trouble_text(const nlohmann::json& totals, std::span<const Trouble> troubles);

}  // namespace ublkbench::probes
