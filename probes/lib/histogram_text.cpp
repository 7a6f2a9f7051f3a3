// SPDX-License-Identifier: MIT
#include "probes/lib/histogram_text.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "bench/base/format.hpp"
#include "bench/base/percentile.hpp"
#include "bench/base/units.hpp"
#include "bench/record/server_usage.hpp"

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
  return formatted("{}{}", value, suffixes[power]);
}

std::string draw(const std::string& name, const std::vector<Line>& lines) {
  std::uint64_t most = 0;
  for (const Line& line : lines) most = std::max(most, line.events);
  std::string text = formatted("@{}: \n", name);
  for (const Line& line : lines)
    text += formatted("{:<16} {:>10} |{:<52}|\n", line.label, line.events,
                      std::string(most == 0 ? 0 : line.events * bar_width / most, '@'));
  return text;
}

/// 0 for 0 and 1 + log2 for the rest: the line that counts `value`.
unsigned line_of(std::uint64_t value) { return static_cast<unsigned>(std::bit_width(value)); }

std::string label_of(unsigned line) {
  if (line <= 1) return formatted("[{}]", line);
  const std::uint64_t low = std::uint64_t{1} << (line - 1);
  return line == 64 ? formatted("[{}, ...)", short_number(low))
                    : formatted("[{}, {})", short_number(low), short_number(low * 2));
}

std::uint64_t events_of(const SizeEvents& counts) {
  std::uint64_t events = 0;
  for (const auto& [value, count] : counts) events += count;
  return events;
}

/// The value of nearest rank.
std::uint64_t percentile(const SizeEvents& counts, double percent) {
  const auto rank =
      static_cast<std::uint64_t>(std::ceil(percent / 100 * static_cast<double>(events_of(counts))));
  std::uint64_t seen = 0;
  for (const auto& [value, events] : counts)
    if ((seen += events) >= rank) return value;
  return counts.rbegin()->first;
}

bool of_powers(Values values) {
  return values == Values::numbers_log2 || values == Values::times_log2_ns;
}

std::string value_text(double value, Values values) {
  if (values == Values::times_ns || values == Values::times_log2_ns) return format_ns(value);
  return value == std::floor(value) ? formatted("{:.0f}", value) : formatted("{:.1f}", value);
}

/// Of a value that stands for all up to its double the end is known.
std::string bound_text(std::uint64_t value, Values values) {
  if (!of_powers(values) || value == 0) return value_text(static_cast<double>(value), values);
  return '<' + value_text(2 * static_cast<double>(value), values);
}

/// A character a power of two, darker with more events; what has any is never blank.
std::string sparkline(const SizeEvents& counts) {
  constexpr std::string_view shades = ".:-=+*#%@";
  const unsigned first = line_of(counts.begin()->first);
  std::vector<std::uint64_t> lines(line_of(counts.rbegin()->first) - first + 1);
  for (const auto& [value, events] : counts) lines[line_of(value) - first] += events;
  const std::uint64_t most = std::ranges::max(lines);
  std::string text;
  for (const std::uint64_t events : lines)
    text += events == 0 ? ' ' : shades[(events * shades.size() - 1) / most];
  return text;
}

}  // namespace

std::string histogram_titles() {
  return formatted("{:<18} {:>9} {:>9} {:>9} {:>9}  {:<19} {}\n", "", "n", "mean", "p50", "p99",
                   "min..max", formatted("powers of two, from min to max ({})", thin_legend));
}

std::string histogram_line(const std::string& name, const SizeEvents& counts, Values values,
                           double known_mean) {
  if (counts.empty()) return {};
  const double mean = of_powers(values) ? known_mean : EventSizes{counts}.mean();
  return formatted("{:<18} {:>9} {:>9} {:>9} {:>9}  {:<19} |{}|\n", name, events_of(counts),
                   mean < 0 ? "-" : value_text(mean, values),
                   bound_text(percentile(counts, 50), values),
                   formatted("{}{}", thin_mark(events_of(counts), 99),
                             bound_text(percentile(counts, 99), values)),
                   value_text(static_cast<double>(counts.begin()->first), values) + ".." +
                       bound_text(counts.rbegin()->first, values),
                   sparkline(counts));
}

SizeEvents log2_events(const unsigned long long (&events)[LOG2_SLOTS]) {
  SizeEvents counts;
  for (unsigned slot = 0; slot < LOG2_SLOTS; ++slot)
    if (events[slot] != 0) counts[log2_lowest(slot)] = events[slot];
  return counts;
}

std::string log2_histogram(const std::string& name, const SizeEvents& counts) {
  if (counts.empty()) return {};
  const unsigned first = line_of(counts.begin()->first);
  std::vector<Line> lines;
  for (unsigned line = first; line <= line_of(counts.rbegin()->first); ++line)
    lines.push_back({label_of(line), 0});
  for (const auto& [value, events] : counts) lines[line_of(value) - first].events += events;
  return draw(name, lines);
}

}  // namespace ublkbench::probes
