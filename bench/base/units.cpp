// SPDX-License-Identifier: MIT
#include "bench/base/units.hpp"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>

#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

struct Number {
  std::uint64_t value;
  std::string suffix;  // in lower case
};

Result<Number> split_number(std::string_view text, std::string_view kind) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number.value);
  if (error == std::errc::result_out_of_range)
    return bad_input(formatted("{} '{}' is too large", kind, text));
  if (error != std::errc{} || rest == text.data())
    return bad_input(formatted("'{}' is not a {}", text, kind));
  for (const char* at = rest; at != end; ++at)
    number.suffix += static_cast<char>(std::tolower(static_cast<unsigned char>(*at)));
  return number;
}

Result<std::uint64_t> scaled(const Number& number, std::uint64_t factor, std::string_view text) {
  if (number.value > std::numeric_limits<std::uint64_t>::max() / factor)
    return bad_input(formatted("'{}' is too large", text));
  return number.value * factor;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  auto number = split_number(text, "size");
  if (!number) return std::unexpected(number.error());
  std::string suffix = number->suffix;
  if (suffix.ends_with("ib"))
    suffix.resize(suffix.size() - 2);
  else if (suffix.ends_with('b') && suffix.size() > 1)
    suffix.pop_back();
  constexpr std::string_view units = "kmgt";
  if (suffix.empty()) return number->value;
  const auto unit = suffix.size() == 1 ? units.find(suffix[0]) : std::string_view::npos;
  if (unit == std::string_view::npos)
    return bad_input(formatted("'{}' is not a size", text), "use bytes or a suffix k, M, G or T");
  return scaled(*number, 1ULL << (10 * (unit + 1)), text);
}

Result<std::uint64_t> parse_count(std::string_view text) {
  auto number = split_number(text, "count");
  if (!number) return std::unexpected(number.error());
  if (number->suffix.empty()) return number->value;
  if (number->suffix == "k") return scaled(*number, 1000, text);
  if (number->suffix == "m") return scaled(*number, 1'000'000, text);
  return bad_input(formatted("'{}' is not a count", text), "use digits or a suffix k or M");
}

Result<std::uint64_t> parse_duration_ns(std::string_view text) {
  auto number = split_number(text, "duration");
  if (!number) return std::unexpected(number.error());
  struct Unit {
    std::string_view name;
    std::uint64_t ns;
  };
  constexpr std::array units{Unit{"ns", 1},
                             Unit{"us", 1'000},
                             Unit{"ms", 1'000'000},
                             Unit{"", 1'000'000'000},
                             Unit{"s", 1'000'000'000},
                             Unit{"m", 60'000'000'000},
                             Unit{"min", 60'000'000'000}};
  for (const Unit& unit : units)
    if (unit.name == number->suffix) return scaled(*number, unit.ns, text);
  return bad_input(formatted("'{}' is not a duration", text), "use a suffix ns, us, ms, s or m");
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  for (std::size_t from = 0;;) {
    const std::size_t to = text.find(separator, from);
    parts.emplace_back(text.substr(from, to - from));
    if (to == std::string_view::npos) return parts;
    from = to + 1;
  }
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char letter : text)
    quoted += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return quoted + '"';
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> units{"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  while (unit + 1 < units.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return formatted("{}{}", bytes, units[unit]);
}

std::string format_ns(double ns) {
  constexpr std::array<std::string_view, 4> units{"ns", "us", "ms", "s"};
  std::size_t unit = 0;
  while (unit + 1 < units.size() && std::fabs(ns) >= 1000) {
    ns /= 1000;
    ++unit;
  }
  const int decimals = std::fabs(ns) >= 100 || unit == 0 ? 0 : std::fabs(ns) >= 10 ? 1 : 2;
  return formatted("{:.{}f} {}", ns, decimals, units[unit]);
}

std::string format_count(double count) {
  if (std::fabs(count) >= 1e6) return formatted("{:.2f}M", count / 1e6);
  if (std::fabs(count) >= 1e3) return formatted("{:.1f}k", count / 1e3);
  return formatted("{:.0f}", count);
}

}  // namespace ublkbench
