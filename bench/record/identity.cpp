// SPDX-License-Identifier: MIT
#include "bench/record/identity.hpp"

#include <algorithm>
#include <set>
#include <string_view>

#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

bool varies(const std::string& field, std::span<const std::string> vary) {
  return std::ranges::any_of(vary, [&](const std::string& name) {
    return is_below(field, name) || is_below(field, "env." + name) ||
           is_below(field, "work." + name);
  });
}

/// What a field was in the records from before it was recorded. Null: nobody knows.
struct Formerly {
  std::string_view field;
  std::string value;  ///< as JSON
};

const std::vector<Formerly>& formerly() {
  static const std::vector<Formerly> all = {
      {"work.allow_split", "false"}, {"work.server_cpus", R"("queue")"},
      {"work.spin_us", "0"},         {"work.wait_count", "1"},
      {"work.wait_us", "50"},        {"work.wake_by", R"("eventfd")"},
      {"work.fetches", "1"},         {"work.fetch_tags", "128"},
      {"work.device", "null"}};
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
const std::string* value_of(const Facts& fields, const std::string& name) {
  if (const std::string* const found = fact(fields, name)) return found;
  const auto row = std::ranges::find_if(
      formerly(), [&](const Formerly& known) { return is_below(name, known.field); });
  return row == formerly().end() ? nullptr : &row->value;
}

std::string text_of(const std::string* value, const std::string& field) {
  if (value == nullptr) return "absent";
  return *value == "null" && may_be_unknown(field) ? "unknown" : *value;
}

bool one_is_unknown(const std::string* a, const std::string* b, const std::string& field) {
  return may_be_unknown(field) && a != nullptr && b != nullptr && (*a == "null") != (*b == "null");
}

/// Fields for which `holds(a, b, name)`, with both values.
template <class Predicate>
std::vector<FieldDifference> fields_where(const Facts& a, const Facts& b, Predicate&& holds) {
  std::set<std::string> names;
  for (const auto* side : {&a, &b})
    for (const auto& [name, value] : *side) names.insert(name);
  std::vector<FieldDifference> found;
  for (const std::string& name : names) {
    const std::string* const of_a = value_of(a, name);
    const std::string* const of_b = value_of(b, name);
    if (holds(of_a, of_b, name))
      found.push_back({.field = name, .a = text_of(of_a, name), .b = text_of(of_b, name)});
  }
  return found;
}

/// Those of `from` at or below each of `names`, below `prefix`.
void take(const Facts& from, std::initializer_list<std::string_view> names, std::string_view prefix,
          Facts& into) {
  for (const auto& [field, value] : from)
    if (std::ranges::any_of(names, [&](std::string_view name) { return is_below(field, name); }))
      into.emplace(formatted("{}{}", prefix, field), value);
}

}  // namespace

Facts identity(const Facts& run, const Facts& env) {
  Facts flat;
  for (const auto& [field, value] : facts_below(env, "key_fields"))
    flat.emplace("env." + field, value);
  take(run,
       {"queues", "daemons", "jobs", "ios", "runtime_ns", "rate_iops", "loop", "latency_recorded",
        "clock"},
       "work.", flat);
  take(run, {"work"}, "", flat);
  return flat;
}

Facts identity_of_one_run(const Facts& run, const Facts& env) {
  Facts flat = identity(run, env);
  take(run, {"tool", "seed", "verify", "planted_instructions"}, "", flat);
  return flat;
}

std::vector<FieldDifference> differences(const Facts& a, const Facts& b,
                                         std::span<const std::string> vary) {
  return fields_where(
      a, b, [&](const std::string* of_a, const std::string* of_b, const std::string& name) {
        if (varies(name, vary) || one_is_unknown(of_a, of_b, name)) return false;
        return of_a == nullptr || of_b == nullptr || *of_a != *of_b;
      });
}

std::vector<FieldDifference> unknowns(const Facts& a, const Facts& b) {
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
