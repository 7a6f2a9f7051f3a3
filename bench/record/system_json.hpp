// SPDX-License-Identifier: MIT
// Small files of the kernel as JSON: what is not there or not readable is null.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "bench/record/system_files.hpp"

namespace ublkbench {

inline nlohmann::json text_json(const std::optional<std::string>& text) {
  return text ? nlohmann::json(*text) : nlohmann::json();
}

/// As an integer where it is one.
inline nlohmann::json value_json(const std::optional<std::string>& text) {
  const auto number = text ? whole_number(*text) : std::nullopt;
  return number ? nlohmann::json(*number) : text_json(text);
}

}  // namespace ublkbench
