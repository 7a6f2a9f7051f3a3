// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/output.hpp"

#include <charconv>

#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"

namespace ublkbench {

int report(const Error& error) {
  say("ublkbench: {}", error.message());
  return static_cast<int>(error.exit);
}

int print(const std::string& text) {
  const auto written = write_to_stdout(text);
  return written ? 0 : report(written.error());
}

Result<std::optional<double>> parse_percent(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const char* end = text.data() + text.size();
  if (text.ends_with('%')) --end;
  double value = 0;
  const auto [last, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || last != end || !(value > 0) || value > 1000)
    return bad_input(formatted("'{}' is no percentage", text), "for instance 5 or 0.5");
  return value / 100;
}

}  // namespace ublkbench
