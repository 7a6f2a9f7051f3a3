// SPDX-License-Identifier: MIT
// JSON as text. Names of files and processes may be any bytes; JSON is UTF-8.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace ublkbench {

/// As nlohmann's dump(), which throws at bytes that are not UTF-8: here they become U+FFFD.
std::string json_text(const nlohmann::json& json, int indent = -1);

bool is_utf8(std::string_view text);

/// Bytes that are not printable ASCII as "\xff".
std::string escaped(std::string_view text);

}  // namespace ublkbench
