// SPDX-License-Identifier: MIT
#include "probes/lib/histogram_text.hpp"

#include <algorithm>
#include <bit>
#include <format>
#include <vector>

namespace ublkbench::probes {
namespace {

constexpr std::uint64_t bar_width = 52;

struct Line {
  std::string label;
  std::uint64_t events;
};

std::string short_number(std::uint64_t value) {
  constexpr const char* suffixes[] = {"", "K", "M", "G", "T", "P"};
  std::size_t power = 0;
  while (value >= 1024 && value % 1024 == 0 && power + 1 < std::size(suffixes)) {
    value /= 1024;
    ++power;
  }
  return std::format("{}{}", value, suffixes[power]);
}

std::string draw(const std::string& name, const std::vector<Line>& lines) {
  std::uint64_t most = 0;
  for (const Line& line : lines) most = std::max(most, line.events);
  std::string text = std::format("@{}: \n", name);
  for (const Line& line : lines)
    text += std::format("{:<16} {:>10} |{:<52}|\n", line.label, line.events,
                        std::string(most == 0 ? 0 : line.events * bar_width / most, '@'));
  return text;
}

/// 0 for 0 and 1 + log2 for the rest: the line that counts `value`.
unsigned line_of(std::uint64_t value) { return static_cast<unsigned>(std::bit_width(value)); }

std::string label_of(unsigned line) {
  if (line <= 1) return std::format("[{}]", line);
  const std::uint64_t low = std::uint64_t{1} << (line - 1);
  return line == 64 ? std::format("[{}, ...)", short_number(low))
                    : std::format("[{}, {})", short_number(low), short_number(low * 2));
}

}  // namespace

std::string log2_histogram(const std::string& name, const ValueCounts& counts) {
  if (counts.empty()) return {};
  const unsigned first = line_of(counts.begin()->first);
  std::vector<Line> lines;
  for (unsigned line = first; line <= line_of(counts.rbegin()->first); ++line)
    lines.push_back({label_of(line), 0});
  for (const auto& [value, events] : counts) lines[line_of(value) - first].events += events;
  return draw(name, lines);
}

}  // namespace ublkbench::probes
