// SPDX-License-Identifier: MIT
#include "analyzers/text_table.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "bench/base/format.hpp"

namespace ublkbench::analyzers {
namespace {

constexpr std::size_t gap = 2;

std::vector<std::size_t> widths_of(const TextTable& table) {
  std::vector<std::size_t> widths;
  for (const TextColumn& column : table.columns) widths.push_back(column.title.size());
  for (const auto& row : table.rows)
    for (std::size_t at = 0; at < row.size(); ++at)
      widths[at] = std::max(widths[at], row[at].size());
  return widths;
}

/// Of columns of one rank the last goes first. The first column stays.
std::vector<bool> shown_columns(const TextTable& table, const std::vector<std::size_t>& widths,
                                std::size_t width) {
  std::vector<bool> shown(widths.size(), true);
  std::size_t used =
      std::accumulate(widths.begin(), widths.end(), std::size_t{0}) + gap * (widths.size() - 1);
  while (width != 0 && used > width) {
    std::size_t worst = 0;
    for (std::size_t at = 1; at < widths.size(); ++at)
      if (shown[at] && (worst == 0 || table.columns[at].rank >= table.columns[worst].rank))
        worst = at;
    if (worst == 0) break;
    shown[worst] = false;
    used -= widths[worst] + gap;
  }
  return shown;
}

}  // namespace

std::string TextTable::aligned(std::size_t width) const {
  const std::vector<std::size_t> widths = widths_of(*this);
  const std::vector<bool> shown = shown_columns(*this, widths, width);
  std::string text;
  const auto add_line = [&](const auto& word_of) {
    std::string line;
    for (std::size_t at = 0; at < columns.size(); ++at) {
      if (!shown[at]) continue;
      if (at != 0) line.append(gap, ' ');
      line += columns[at].left ? formatted("{:<{}}", word_of(at), widths[at])
                               : formatted("{:>{}}", word_of(at), widths[at]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  };
  add_line([&](std::size_t at) { return columns[at].title; });
  for (const auto& row : rows) add_line([&](std::size_t at) { return row[at]; });
  std::string hidden;
  for (std::size_t at = 0; at < columns.size(); ++at)
    if (!shown[at]) hidden += (hidden.empty() ? "" : ", ") + columns[at].title;
  return hidden.empty() ? text : text + "No room for: " + hidden + " (--wide shows all).\n";
}

std::string TextTable::markdown() const {
  std::string text;
  for (const TextColumn& column : columns) text += "| " + escaped_cell(column.title) + ' ';
  text += "|\n";
  for (const TextColumn& column : columns) text += column.left ? "|:--" : "|--:";
  text += "|\n";
  for (const auto& row : rows) {
    for (const std::string& word : row) text += "| " + escaped_cell(word) + ' ';
    text += "|\n";
  }
  return text;
}

std::string escaped_cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.insert(at, 1, '\\');
  return text;
}

std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace ublkbench::analyzers
