// SPDX-License-Identifier: MIT
// Does the mode keep data, before it is timed? In a child, like the load.
#pragma once

#include <string>

#include "bench/base/result.hpp"
#include "bench/record/sample_record.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

/// Overwrites the head of the device, and fails where the cell may not write.
Result<Verification> verify_cell(const RunOptions& options, const Cell& cell,
                                 const std::string& path, const std::string& buffer_file);

}  // namespace ublkbench
