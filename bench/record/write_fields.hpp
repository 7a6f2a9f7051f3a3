// SPDX-License-Identifier: MIT
// Records into JSON, by their lists of fields.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/record/fields.hpp"

namespace ublkbench {

template <HasFields Record>
nlohmann::json to_json(const Record& record);

namespace json_writing {

template <class Value>
nlohmann::json json_of(const Value& value) {
  if constexpr (HasFields<Value>)
    return to_json(value);
  else if constexpr (std::is_enum_v<Value>)
    return name_of(value);
  else
    return value;
}

/// A whole number is written as one, whatever its type: 4, not 4.0.
inline nlohmann::json json_of(double value) {
  constexpr double exact = 9007199254740992;  // 2^53
  if (value == std::floor(value) && std::abs(value) < exact)
    return static_cast<std::int64_t>(value);
  return value;
}

inline nlohmann::json json_of(const RawJson& raw) {
  return raw.empty() ? nlohmann::json() : nlohmann::json::parse(raw.text, nullptr, false);
}

template <class Value>
nlohmann::json json_of(const std::vector<Value>& values) {
  nlohmann::json list = nlohmann::json::array();
  for (const Value& value : values) list.push_back(json_of(value));
  return list;
}

inline nlohmann::json json_of(const SizeEvents& events) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [size, count] : events) list.push_back({size, count});
  return list;
}

template <class Value>
nlohmann::json json_of(const std::map<std::string, Value>& values) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [name, value] : values) object[name] = json_of(value);
  return object;
}

template <class Value>
nlohmann::json json_of(const std::optional<Value>& value) {
  return value ? json_of(*value) : nlohmann::json();
}

template <class Value>
bool is_absent(const Value& /*value*/) {
  return false;
}
template <class Value>
bool is_absent(const std::optional<Value>& value) {
  return !value;
}
inline bool is_absent(const RawJson& raw) { return raw.empty(); }

}  // namespace json_writing

template <HasFields Record>
nlohmann::json to_json(const Record& record) {
  nlohmann::json object = nlohmann::json::object();
  for_each_field<Record>([&](const auto& each) {
    if constexpr (requires { each.member; }) {
      const auto& value = record.*each.member;
      if (each.kind == FieldKind::nullable || !json_writing::is_absent(value))
        object[each.name] = json_writing::json_of(value);
    } else {
      object[each.name] = json_writing::json_of((record.*each.get)());
    }
  });
  return object;
}

}  // namespace ublkbench
