// SPDX-License-Identifier: MIT
// What the queue of a measured device was set to. Two cells whose queues differ are as unlike as
// two machines: another scheduler alone is a third of an I/O's instructions.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "analyzers/record.hpp"
#include "bench/record/identity.hpp"

namespace ublkbench::analyzers {

/// Of a sample's device.queue_limits those settings that decide what a read or a write costs.
/// By name, as JSON; `queue_limits` is a JSON object.
Facts deciding_settings(const std::string& queue_limits);

struct QueueComparison {
  /// "queue.scheduler", with the cells that differ in it.
  std::vector<FieldDifference> unlike;
  /// Cells of which one record or both do not say; they are no difference, nor are they equal.
  std::vector<std::string> unknown;
};

/// Compares the cells that both have, by name. A cell whose own samples differ is unlike
/// everything. `vary` as for differences().
QueueComparison compare_queues(std::span<const CellRecord> a, std::span<const CellRecord> b,
                               std::span<const std::string> vary = {});

/// Of one cell in two runs; what one side does not know is no difference.
std::vector<FieldDifference> queue_differences(const std::optional<Facts>& a,
                                               const std::optional<Facts>& b,
                                               std::span<const std::string> vary = {});

/// "the queue settings of N cell(s) are not recorded (CELL, ...): whether ...", or nothing.
std::string unknown_text(std::span<const std::string> cells);

}  // namespace ublkbench::analyzers
