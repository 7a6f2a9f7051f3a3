// SPDX-License-Identifier: MIT
// Does the mode keep data, before it is timed? In a child, like the load.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bench/base/result.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

/// {"status": "passed" | "failed" | "interrupted", "checked": "contents" | "completions",
/// "report"}, with "reason" and "exit" (an ExitCode) unless it passed. Of a target that stores
/// nothing only completions can be checked. Overwrites the head of the device.
Result<nlohmann::json> verify_cell(const RunOptions& options, const Cell& cell,
                                   const std::string& path, const std::string& buffer_file);

}  // namespace ublkbench
