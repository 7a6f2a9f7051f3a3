// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

namespace ublkbench {

/// Becomes ublk-report with these words; returns an exit code only where that cannot be.
int run_report(const std::vector<std::string>& words);

}  // namespace ublkbench
