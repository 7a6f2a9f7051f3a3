// SPDX-License-Identifier: MIT
// The history of a benchmark: JSON Lines, a line a run with all its samples, to which lines are
// only added. It is the truth; what else is made of it (analyzers/history_index.hpp) can be made
// again.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "analyzers/record.hpp"

namespace ublkbench::analyzers {

/// A run as a line of the history has it.
struct HistoryRun {
  std::string id;
  std::string started;
  std::string commit;
  bool dirty = false;
  std::string clock;
  nlohmann::json fields;  ///< Record::comparable_fields()
  std::vector<CellRecord> cells;
};

/// The line of a record, without a newline. Refuses a record without an id or without a good
/// sample.
Result<std::string> history_line(const Record& record);

/// Strict: a line that is complete and yet broken is an error. `where` names it: "history.jsonl:3".
Result<HistoryRun> parse_history_line(std::string_view line, const std::string& where);

struct HistoryEnd {
  std::uint64_t bytes = 0;       ///< of complete lines
  std::uint64_t torn_bytes = 0;  ///< behind them: a line that was cut off, or is being written
};

/// Calls `each` with every complete line from byte `from` on, and where it ends.
Result<HistoryEnd> read_history(
    const std::string& path, std::uint64_t from,
    const std::function<Result<>(std::string_view line, std::uint64_t end)>& each);

}  // namespace ublkbench::analyzers
