// SPDX-License-Identifier: MIT
// Does the mode keep data, before it is timed? In a child, like the load.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bench/base/result.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

/// {"status": "passed" | "completes" | "failed", "reason", "report"}: "completes" where the target
/// stores nothing, so that only completions could be checked. Overwrites the head of the device.
Result<nlohmann::json> verify_cell(const Cell& cell, const std::string& path);

}  // namespace ublkbench
