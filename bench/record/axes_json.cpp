// SPDX-License-Identifier: MIT
#include "bench/record/axes_json.hpp"

#include <nlohmann/json.hpp>

namespace ublkbench {

using nlohmann::json;

void to_json(json& object, const Axes& axes) {
  object = json::object();
  for (const Axis& axis : all_axes())
    if (!axis.may_be_none || !axis.is_blank(axes))
      std::visit([&](auto member) { object[std::string(axis.key)] = axes.*member; }, axis.field);
}

void from_json(const json& object, Axes& axes) {
  axes = {};
  for (const Axis& axis : all_axes())
    if (const std::string key(axis.key); !axis.may_be_none || object.contains(key))
      std::visit([&](auto member) { object.at(key).get_to(axes.*member); }, axis.field);
}

}  // namespace ublkbench
