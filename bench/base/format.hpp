// SPDX-License-Identifier: MIT
// std::format with its formatters compiled once. libstdc++'s std::vformat() is inline, so each file
// that calls std::format() compiles integers, floating point and alignment anew: 100 kB of code and
// two thirds of the compiler's time for a small file. Only the check of the format string is left
// in the caller here.
#pragma once

#include <format>
#include <string>
#include <string_view>

namespace ublkbench {

/// As std::vformat().
std::string formatted_with(std::string_view format, std::format_args values);

/// As std::format().
template <class... Values>
[[nodiscard]] std::string formatted(std::format_string<Values...> format, Values&&... values) {
  return formatted_with(format.get(), std::make_format_args(values...));
}

}  // namespace ublkbench
