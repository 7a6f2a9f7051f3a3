// SPDX-License-Identifier: MIT
#include "bench/record/identity.hpp"

#include <algorithm>
#include <set>
#include <string_view>

#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

bool is_below(std::string_view field, std::string_view name) {
  return field == name || (field.starts_with(name) && field.substr(name.size()).starts_with('.'));
}

bool varies(const std::string& field, std::span<const std::string> vary) {
  return std::ranges::any_of(vary, [&](const std::string& name) {
    return is_below(field, name) || is_below(field, "env." + name) ||
           is_below(field, "work." + name);
  });
}

/// What a field was in the records from before it was recorded. Null: nobody knows.
struct Formerly {
  std::string_view field;
  json value;
};

const std::vector<Formerly>& formerly() {
  static const std::vector<Formerly> all = {
      {"work.allow_split", false}, {"work.server_cpus", "queue"}, {"work.spin_us", 0},
      {"work.wait_count", 1},      {"work.wait_us", 50},          {"work.wake_by", "eventfd"},
      {"work.fetches", 1},         {"work.fetch_tags", 128},      {"work.device", nullptr}};
  return all;
}

/// Fields of the server, which are null where somebody else serves and nobody knows.
bool may_be_unknown(std::string_view field) {
  constexpr std::string_view of_server[] = {
      "work.queues",  "work.daemons",    "work.max_io_bytes", "work.auto_zc_fallback",
      "work.spin_us", "work.wait_count", "work.wait_us",      "work.wake_by",
      "work.fetches", "work.fetch_tags", "work.server_cpus",  "work.device"};
  return std::ranges::any_of(of_server,
                             [&](std::string_view name) { return is_below(field, name); });
}

/// The field's value, or what it was when it was not recorded; nothing where that is not known.
const json* value_of(const json& fields, const std::string& name) {
  if (const auto found = fields.find(name); found != fields.end()) return &*found;
  const auto row = std::ranges::find_if(
      formerly(), [&](const Formerly& known) { return is_below(name, known.field); });
  return row == formerly().end() ? nullptr : &row->value;
}

std::string text_of(const json* value, const std::string& field) {
  if (value == nullptr) return "absent";
  return value->is_null() && may_be_unknown(field) ? "unknown" : json_text(*value);
}

bool one_is_unknown(const json* a, const json* b, const std::string& field) {
  return may_be_unknown(field) && a != nullptr && b != nullptr && a->is_null() != b->is_null();
}

/// Fields for which `holds(a, b, name)`, with both values.
template <class Predicate>
std::vector<FieldDifference> fields_where(const json& a, const json& b, Predicate&& holds) {
  std::set<std::string> names;
  for (const auto* side : {&a, &b})
    for (const auto& [name, value] : side->items()) names.insert(name);
  std::vector<FieldDifference> found;
  for (const std::string& name : names) {
    const json* const of_a = value_of(a, name);
    const json* const of_b = value_of(b, name);
    if (holds(of_a, of_b, name))
      found.push_back({.field = name, .a = text_of(of_a, name), .b = text_of(of_b, name)});
  }
  return found;
}

void flatten(const json& value, const std::string& name, json& flat) {
  if (!value.is_object()) {
    flat[name] = value;
    return;
  }
  for (const auto& [key, below] : value.items()) flatten(below, name + "." + key, flat);
}

/// Of an object that may lack it.
json member(const json& object, const char* name) {
  return object.is_object() ? object.value(name, json()) : json();
}

}  // namespace

json identity(const json& run, const json& env) {
  json flat = json::object();
  if (const json key = member(env, "key_fields"); key.is_object()) flatten(key, "env", flat);
  for (const char* field : {"queues", "daemons", "jobs", "ios", "runtime_ns", "rate_iops", "loop",
                            "latency_recorded", "clock"})
    if (run.contains(field)) flat[std::string("work.") + field] = run[field];
  if (const json work = member(run, "work"); work.is_object()) flatten(work, "work", flat);
  return flat;
}

json identity_of_one_run(const json& run, const json& env) {
  json flat = identity(run, env);
  for (const char* field : {"tool", "seed", "verify", "planted_instructions"})
    if (run.contains(field)) flatten(run[field], field, flat);
  return flat;
}

std::vector<FieldDifference> differences(const json& a, const json& b,
                                         std::span<const std::string> vary) {
  return fields_where(a, b, [&](const json* of_a, const json* of_b, const std::string& name) {
    if (varies(name, vary) || one_is_unknown(of_a, of_b, name)) return false;
    return of_a == nullptr || of_b == nullptr || *of_a != *of_b;
  });
}

std::vector<FieldDifference> unknowns(const json& a, const json& b) {
  return fields_where(a, b, one_is_unknown);
}

std::string to_text(std::span<const FieldDifference> differences) {
  std::string text;
  for (const FieldDifference& difference : differences)
    text += formatted("  {}: {} and {}{}\n", difference.field, difference.a, difference.b,
                      difference.where.empty() ? "" : " (" + difference.where + ")");
  return text;
}

}  // namespace ublkbench
