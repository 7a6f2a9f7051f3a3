// SPDX-License-Identifier: MIT
// Facts into JSON.
#pragma once

#include <nlohmann/json.hpp>

#include "bench/record/facts.hpp"

namespace ublkbench {

/// By their dotted names, on one level.
inline nlohmann::json json_of(const Facts& facts) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [name, value] : facts)
    object[name] = nlohmann::json::parse(value, nullptr, false);
  return object;
}

}  // namespace ublkbench
