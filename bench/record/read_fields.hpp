// SPDX-License-Identifier: MIT
// Parsed JSON into records, by their lists of fields.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "bench/record/fields.hpp"
#include "bench/record/json_reader.hpp"

namespace ublkbench {

/// A record of `object`: what it has else is not looked at.
template <HasFields Record>
void read_fields(JsonReader& at, const JsonReader::Object& object, Record& into);

namespace json_reading {

using Element = simdjson::dom::element;

/// `key` names the value in complaints about it.
struct Place {
  JsonReader& at;
  std::string_view key;
  void complain(std::string_view what) const { at.complain(key, what); }
};

template <class Value>
bool get(const Place& place, const Element& element, Value& value, std::string_view what) {
  if (element.get(value) == simdjson::SUCCESS) return true;
  place.complain(what);
  return false;
}

inline void read(const Place& place, const Element& element, bool& into) {
  get(place, element, into, "is neither true nor false");
}

inline void read(const Place& place, const Element& element, double& into) {
  if (get(place, element, into, "is no number of at least 0") && into < 0)
    place.complain("is no number of at least 0");
}

/// A whole number may be written as 1e9.
template <class Whole>
  requires std::is_integral_v<Whole>
void read(const Place& place, const Element& element, Whole& into) {
  std::int64_t number = 0;
  double real = 0;
  if constexpr (std::is_unsigned_v<Whole>) {
    std::uint64_t count = 0;
    if (element.get(count) == simdjson::SUCCESS && std::in_range<Whole>(count)) {
      into = static_cast<Whole>(count);
      return;
    }
  } else if (element.get(number) == simdjson::SUCCESS && std::in_range<Whole>(number)) {
    into = static_cast<Whole>(number);
    return;
  }
  constexpr double exact = 9007199254740992;  // 2^53
  if (element.get(real) == simdjson::SUCCESS && real >= 0 && real < exact &&
      real == std::floor(real) && std::in_range<Whole>(static_cast<std::uint64_t>(real)))
    into = static_cast<Whole>(real);
  else
    place.complain("is no count");
}

inline void read(const Place& place, const Element& element, std::string& into) {
  std::string_view text;
  if (get(place, element, text, "is no string")) into = text;
}

inline void read(const Place& /*place*/, const Element& element, RawJson& into) {
  into.text = simdjson::minify(element);
}

template <class Enum>
  requires std::is_enum_v<Enum>
void read(const Place& place, const Element& element, Enum& into) {
  std::string_view name;
  if (!get(place, element, name, "is no string")) return;
  const auto names = names_of(into);
  const auto found = std::ranges::find(names, name);
  if (found == names.end())
    place.complain(formatted("'{}' is unknown", name));
  else
    into = static_cast<Enum>(found - names.begin());
}

template <HasFields Record>
void read(const Place& place, const Element& element, Record& into) {
  JsonReader::Object object;
  if (!get(place, element, object, "is no object")) return;
  JsonReader inside = place.at.inside(place.key);
  read_fields(inside, object, into);
}

template <class Value>
void read(const Place& place, const Element& element, std::optional<Value>& into);

template <class First, class Second>
void read(const Place& place, const Element& element, std::pair<First, Second>& into) {
  simdjson::dom::array pair;
  if (!get(place, element, pair, "is no pair")) return;
  if (pair.size() != 2) return place.complain("is no pair");
  auto entry = pair.begin();
  read(place, *entry, into.first);
  read(place, *++entry, into.second);
}

template <class Value>
void read(const Place& place, const Element& element, std::vector<Value>& into) {
  simdjson::dom::array list;
  if (!get(place, element, list, "is no list")) return;
  into.clear();
  for (const Element& entry : list) read(place, entry, into.emplace_back());
}

template <class Value>
void read(const Place& place, const Element& element, std::map<std::string, Value>& into) {
  JsonReader::Object object;
  if (!get(place, element, object, "is no object")) return;
  into.clear();
  JsonReader inside = place.at.inside(place.key);
  for (const auto& [name, entry] : object) read({inside, name}, entry, into[std::string(name)]);
}

inline void read(const Place& place, const Element& element, SizeEvents& into) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> pairs;
  read(place, element, pairs);
  into = SizeEvents(pairs.begin(), pairs.end());
}

template <class Value>
void read(const Place& place, const Element& element, std::optional<Value>& into) {
  read(place, element, into.emplace());
}

}  // namespace json_reading

template <HasFields Record>
void read_fields(JsonReader& at, const JsonReader::Object& object, Record& into) {
  for_each_field<Record>([&](const auto& each) {
    if constexpr (requires { each.member; }) {
      if (const auto element = at.find(object, each.name))
        json_reading::read({at, each.name}, *element, into.*each.member);
      else if (each.kind == FieldKind::required)
        at.complain(each.name, "is missing");
    }
  });
}

}  // namespace ublkbench
