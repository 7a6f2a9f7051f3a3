// SPDX-License-Identifier: MIT
#include "bench/record/facts.hpp"

#include <simdjson.h>

#include <cmath>

namespace ublkbench {
namespace {

using Element = simdjson::dom::element;

constexpr double exact = 9007199254740992;  // 2^53

std::string text_of(const Element& element) {
  double real = 0;
  if (element.is_double() && element.get(real) == simdjson::SUCCESS && real == std::floor(real) &&
      std::abs(real) < exact)
    return std::to_string(static_cast<std::int64_t>(real));
  return simdjson::minify(element);
}

void flatten(const Element& element, const std::string& name, Facts& into) {
  simdjson::dom::object object;
  if (element.get(object) != simdjson::SUCCESS) {
    into[name] = text_of(element);
    return;
  }
  for (const auto& [key, value] : object)
    flatten(value, name.empty() ? std::string(key) : name + '.' + std::string(key), into);
}

}  // namespace

Facts facts_of(std::string_view json) {
  simdjson::dom::parser parser;
  Element element;
  Facts facts;
  if (parser.parse(json.data(), json.size()).get(element) == simdjson::SUCCESS &&
      element.is_object())
    flatten(element, {}, facts);
  return facts;
}

Facts values_of(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  Facts facts;
  if (parser.parse(json.data(), json.size()).get(object) == simdjson::SUCCESS)
    for (const auto& [key, value] : object) facts.emplace(key, text_of(value));
  return facts;
}

const std::string* fact(const Facts& facts, std::string_view name) {
  const auto found = facts.find(name);
  return found == facts.end() ? nullptr : &found->second;
}

std::optional<std::string> fact_word(const Facts& facts, std::string_view name) {
  const std::string* const text = fact(facts, name);
  simdjson::dom::parser parser;
  std::string_view word;
  if (text == nullptr || parser.parse(*text).get(word) != simdjson::SUCCESS) return std::nullopt;
  return std::string(word);
}

std::optional<double> fact_number(const Facts& facts, std::string_view name) {
  const std::string* const text = fact(facts, name);
  simdjson::dom::parser parser;
  double number = 0;
  if (text == nullptr || parser.parse(*text).get(number) != simdjson::SUCCESS) return std::nullopt;
  return number;
}

bool is_below(std::string_view field, std::string_view name) {
  return field == name || (field.starts_with(name) && field.substr(name.size()).starts_with('.'));
}

bool has_fact(const Facts& facts, std::string_view name) {
  if (facts.contains(name)) return true;
  const auto found = facts.lower_bound(std::string(name) + '.');
  return found != facts.end() && is_below(found->first, name);
}

Facts facts_below(const Facts& facts, std::string_view name) {
  Facts below;
  for (const auto& [field, value] : facts)
    if (field.size() > name.size() && is_below(field, name))
      below.emplace(field.substr(name.size() + 1), value);
  return below;
}

}  // namespace ublkbench
