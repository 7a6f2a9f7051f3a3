// SPDX-License-Identifier: MIT
// What the verbs of ublkbench share: results to stdout, one line of an error to stderr.
#pragma once

#include <optional>
#include <string>

#include "bench/base/result.hpp"

namespace ublkbench {

/// Says what failed; returns the exit code.
int report(const Error& error);

/// Writes all of `text` to stdout; returns the exit code.
int print(const std::string& text);

/// "5" or "0.5%" as a share, 0.05 or 0.005; nothing of an empty text.
Result<std::optional<double>> parse_percent(const std::string& text);

}  // namespace ublkbench
