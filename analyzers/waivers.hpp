// SPDX-License-Identifier: MIT
// Regressions that are known and allowed for a while: each with a ceiling, an end and an issue.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analyzers/figures.hpp"
#include "bench/base/result.hpp"

namespace ublkbench::analyzers {

struct Waiver {
  std::string cell;  ///< its id
  Figure figure = Figure::total_instructions;
  double ceiling_percent = 0;  ///< no more than so much worse
  std::string expires;         ///< the last day, YYYY-MM-DD
  std::string issue;
};

/// {"schema": "ublkbench.waivers/1", "waivers": [{"cell", "figure", "ceiling_percent", "expires",
/// "issue"}]}, every field required.
Result<std::vector<Waiver>> read_waivers(const std::string& path);

/// Why a regression by `ratio` stands although a waiver names it; empty where the waiver holds;
/// nothing where none names it. `today` is YYYY-MM-DD.
std::optional<std::string> objection(std::span<const Waiver> waivers, const std::string& cell,
                                     Figure figure, double ratio, const std::string& today);

}  // namespace ublkbench::analyzers
