// SPDX-License-Identifier: MIT
#include "analyzers/environment_diff.hpp"

#include <algorithm>
#include <format>
#include <set>

namespace ublkbench::analyzers {
namespace {

bool is_below(std::string_view field, std::string_view name) {
  return field == name || (field.starts_with(name) && field.substr(name.size()).starts_with('.'));
}

bool varies(const std::string& field, std::span<const std::string> vary) {
  return std::ranges::any_of(vary, [&](const std::string& name) {
    return is_below(field, name) || is_below(field, "env." + name);
  });
}

std::string text_of(const nlohmann::json& fields, const std::string& field) {
  return fields.contains(field) ? fields[field].dump() : "absent";
}

}  // namespace

std::vector<FieldDifference> differences(const nlohmann::json& a, const nlohmann::json& b,
                                         std::span<const std::string> vary) {
  std::set<std::string> names;
  for (const auto* side : {&a, &b})
    for (const auto& [name, value] : side->items()) names.insert(name);
  std::vector<FieldDifference> found;
  for (const std::string& name : names) {
    if (varies(name, vary)) continue;
    if (a.contains(name) && b.contains(name) && a[name] == b[name]) continue;
    found.push_back({.field = name, .a = text_of(a, name), .b = text_of(b, name)});
  }
  return found;
}

std::string to_text(std::span<const FieldDifference> differences) {
  std::string text;
  for (const FieldDifference& difference : differences)
    text += std::format("  {}: {} and {}\n", difference.field, difference.a, difference.b);
  return text;
}

}  // namespace ublkbench::analyzers
