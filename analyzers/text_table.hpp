// SPDX-License-Identifier: MIT
// Text tables: one layout for all that print them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ublkbench::analyzers {

struct TextColumn {
  std::string title;
  bool left = false;  ///< aligned to it
  unsigned rank = 0;  ///< the highest goes first where there is no room
};

struct TextTable {
  std::vector<TextColumn> columns;
  std::vector<std::vector<std::string>> rows;

  /// With blanks between columns. Those that `width` has no room for are left out, and named below
  /// the table; 0: there is room for all.
  [[nodiscard]] std::string aligned(std::size_t width = 0) const;
  [[nodiscard]] std::string markdown() const;
};

/// Without what would end a cell of a Markdown table.
std::string escaped_cell(std::string text);

/// Of the terminal that is stdout; 0 where it is none.
std::size_t terminal_width();

}  // namespace ublkbench::analyzers
