// SPDX-License-Identifier: MIT
#include "bench/tools/output.hpp"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <format>
#include <print>

namespace ublkbench {

int report(const Error& error) {
  std::string text = error.message();
  while (text.ends_with('\n')) text.pop_back();
  std::println(stderr, "ublkbench: {}", text);
  return static_cast<int>(error.exit);
}

int print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
    return 0;
  return report(failed("write", "the results to stdout", errno).error().with_exit(ExitCode::usage));
}

Result<double> parse_percent(const std::string& text) {
  const char* end = text.data() + text.size();
  if (text.ends_with('%')) --end;
  double value = 0;
  const auto [last, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || last != end || !(value > 0) || value > 1000)
    return bad_input(std::format("'{}' is no percentage", text), "for instance 5 or 0.5");
  return value;
}

}  // namespace ublkbench
