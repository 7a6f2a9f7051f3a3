// SPDX-License-Identifier: MIT
// Sizes, counts, times and lists as users type and read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench {

/// "4k", "1M", "64KiB", "512" in bytes; suffixes are powers of 1024, case does not matter.
Result<std::uint64_t> parse_size(std::string_view text);

/// "128" or "10k" (powers of 1000), no sign, no fraction.
Result<std::uint64_t> parse_count(std::string_view text);

/// "100us", "2ms", "30s", "5" (seconds) in nanoseconds.
Result<std::uint64_t> parse_duration_ns(std::string_view text);

/// Splits at `separator`; empty text gives no parts.
std::vector<std::string> split(std::string_view text, char separator);

/// As a field of a CSV line: quoted where it has to be.
std::string csv_field(const std::string& text);

/// 4096 -> "4k", 1048576 -> "1M", 1000 -> "1000".
std::string format_size(std::uint64_t bytes);

/// 1234 ns -> "1.23 us"; three significant digits.
std::string format_ns(double ns);

/// 104123.4 -> "104.1k", 950 -> "950".
std::string format_count(double count);

}  // namespace ublkbench
