// SPDX-License-Identifier: MIT
// Whether a cell may write to its data, decided here for the load and for its verification, whatever
// verb and options the cell comes from. Nothing that the run did not make is written without
// --destructive.
#pragma once

#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

/// What the data behind a cell is: whose, and where.
Result<CellData> data_of_target(const std::string& spec);
CellData data_of_device(const std::string& path);

bool may_write(const RunOptions& options, const Cell& cell);

/// Refuses a load, or a verification that was asked for, that writes where the cell may not.
Result<> check_writes(const RunOptions& options, const Cell& cell);

/// Why the cell's data is not verified, in a few words for the table: "off", "needs --destructive",
/// "read-only"; empty when it is. Of a device that is not served by this run: "-".
std::string not_verified(const RunOptions& options, const Cell& cell);

/// Targets whose files were not written all over, before anything was done to them: a figure of
/// theirs is no figure of a disk, and compares with its like only.
std::vector<std::string> targets_with_holes(const Plan& plan);

/// What the cell does to its data, for --dry-run.
std::string writes_in_words(const RunOptions& options, const Cell& cell);

}  // namespace ublkbench
