// SPDX-License-Identifier: MIT
// A SQLite file beside a history, HISTORY.sqlite, so that a trend reads a figure and not every
// sample of every run. It has nothing that the history has not: it is made again whenever it is
// missing, damaged, of another version, or of another history. Tables: run, env, cell, sample (a
// column a figure).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analyzers/history.hpp"

namespace ublkbench::analyzers {

namespace sqlite {
class Database;
}

/// A run without its samples.
struct IndexedRun {
  std::int64_t row = 0;
  std::string id;
  std::string started;
  std::string commit;
  bool dirty = false;
  std::string clock;
  nlohmann::json fields;
};

/// A cell's samples of one figure in one run.
struct IndexedValues {
  std::int64_t run = 0;  ///< IndexedRun::row
  std::vector<double> values;
};

struct IndexedCell {
  std::string id;
  Axes axes;
  std::vector<IndexedValues> runs;
};

class HistoryIndex {
 public:
  /// Brings the index of the history up to date; it commits all or nothing.
  static Result<HistoryIndex> open(const std::string& history, bool rebuild = false);
  ~HistoryIndex();
  HistoryIndex(HistoryIndex&&) noexcept;
  HistoryIndex& operator=(HistoryIndex&&) noexcept;

  /// What the user should know: a torn line, a damaged index that was made again.
  [[nodiscard]] const std::vector<std::string>& remarks() const { return remarks_; }

  [[nodiscard]] Result<bool> has(const std::string& run_id) const;
  /// In the order of their start.
  [[nodiscard]] Result<std::vector<IndexedRun>> runs() const;
  [[nodiscard]] Result<std::vector<IndexedCell>> cells(Figure figure) const;

 private:
  HistoryIndex(std::string history, std::string path);
  Result<> refresh(bool rebuild);

  std::string history_;
  std::string path_;
  std::unique_ptr<sqlite::Database> database_;
  std::vector<std::string> remarks_;
};

std::string index_path(const std::string& history);

}  // namespace ublkbench::analyzers
