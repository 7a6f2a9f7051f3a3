// SPDX-License-Identifier: MIT
// The history of a benchmark: JSON Lines, a line a run with all its samples, to which lines are
// only added.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analyzers/record.hpp"

namespace ublkbench::analyzers {

/// A run without its samples.
struct HistoryRun {
  std::string id;
  std::string started;
  std::string commit;
  bool dirty = false;
  std::string clock;
  Facts fields;  ///< Record::comparable_fields()
};

/// A cell's samples in one run.
struct HistoryValues {
  std::size_t run = 0;                           ///< in History::runs
  const Facts* queue = nullptr;                  ///< CellRecord::queue; nothing: not recorded
  std::map<Figure, std::vector<double>> values;  ///< of the figures that were asked for
};

struct HistoryCell {
  std::string id;
  Axes axes;
  std::vector<HistoryValues> runs;
};

struct History {
  std::vector<HistoryRun> runs;  ///< in the order of the file, each once
  std::vector<HistoryCell> cells;
  /// Nearly all cells of nearly all runs have the same few: by their text, at a place that stays.
  std::map<std::string, Facts> queues;
  std::uint64_t torn_bytes = 0;  ///< behind the complete lines: cut off, or still being written

  [[nodiscard]] bool has(const std::string& run_id) const;
  /// What the user should know of the file at `path`; empty where there is nothing.
  [[nodiscard]] std::string remark(const std::string& path) const;
};

/// The line of a record, without a newline. Refuses a record without an id or without a good
/// sample.
Result<std::string> history_line(const Record& record);

/// Strict: a line that is complete and yet broken is an error. Of the samples only `figures` are
/// kept: those of thousands of runs are some GB.
Result<History> read_history(const std::string& path, std::span<const Figure> figures);

}  // namespace ublkbench::analyzers
