// SPDX-License-Identifier: MIT
// The fields of a record, listed once: JSON is written from the list and read into it, and counters
// are subtracted by it. A record type has a static function fields() that returns a tuple of what
// is made here, and may have no other list of its members.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace ublkbench {

enum class FieldKind : std::uint8_t {
  plain,     ///< a reader that misses it keeps the member's default: older records lack some
  required,  ///< a record without it is damaged
  nullable,  ///< an optional that is written as null where there is none, not left out
};

template <class Record, class Value>
struct Field {
  std::string_view name;
  Value Record::* member;
  FieldKind kind;
};

/// Grows while it is watched: what happened in between is a difference.
template <class Record, class Value>
struct CountedField : Field<Record, Value> {};

/// Follows from other members: written for the reader's sake, never read.
template <class Record, class Value>
struct Derived {
  std::string_view name;
  Value (Record::*get)() const;
};

template <class Record, class Value>
constexpr auto field(std::string_view name, Value Record::* member) {
  return Field<Record, Value>{name, member, FieldKind::plain};
}
template <class Record, class Value>
constexpr auto required(std::string_view name, Value Record::* member) {
  return Field<Record, Value>{name, member, FieldKind::required};
}
template <class Record, class Value>
constexpr auto nullable(std::string_view name, std::optional<Value> Record::* member) {
  return Field<Record, std::optional<Value>>{name, member, FieldKind::nullable};
}
template <class Record, class Value>
constexpr auto counter(std::string_view name, Value Record::* member,
                       FieldKind kind = FieldKind::plain) {
  return CountedField<Record, Value>{{name, member, kind}};
}
template <class Record, class Value>
constexpr auto derived(std::string_view name, Value (Record::*get)() const) {
  return Derived<Record, Value>{name, get};
}

/// A value's name in records, of an enum with names_of(): a name for each value from 0 on.
template <class Enum>
  requires requires(Enum value) { names_of(value); }
constexpr std::string_view name_of(Enum value) {
  return names_of(value)[static_cast<std::size_t>(value)];
}

template <class Record>
concept HasFields = requires { Record::fields(); };

template <HasFields Record, class Visit>
constexpr void for_each_field(Visit&& visit) {
  std::apply([&](const auto&... each) { (visit(each), ...); }, Record::fields());
}

/// The name of the field that has this member.
template <HasFields Record, class Value>
constexpr std::string_view field_name(Value Record::* member) {
  std::string_view name;
  for_each_field<Record>([&](const auto& each) {
    if constexpr (requires { each.member == member; })
      if (each.member == member) name = each.name;
  });
  return name;
}

/// JSON of another program, or of a shape that nobody here looks into; empty: none.
struct RawJson {
  std::string text;
  [[nodiscard]] bool empty() const { return text.empty(); }
  bool operator==(const RawJson&) const = default;
};

/// How many events had each size, exact; [[size, events], ...] in JSON.
using SizeEvents = std::map<std::uint64_t, std::uint64_t>;

inline void subtract(std::uint64_t& later, std::uint64_t earlier) { later -= earlier; }

template <class Value>
void subtract(std::optional<Value>& later, const std::optional<Value>& earlier) {
  if (later && earlier) subtract(*later, *earlier);
}

/// Of each that there was before.
template <class Value>
void subtract(std::vector<Value>& later, const std::vector<Value>& earlier) {
  for (std::size_t at = 0; at < later.size() && at < earlier.size(); ++at)
    subtract(later[at], earlier[at]);
}

inline void subtract(SizeEvents& later, const SizeEvents& earlier) {
  for (const auto& [size, events] : earlier)
    if ((later[size] -= events) == 0) later.erase(size);
}

/// What happened between two readings of one thing; what is no counter is as it was at the later.
template <HasFields Record>
void subtract(Record& later, const Record& earlier) {
  const auto each_counter = [&]<class Owner, class Value>(const CountedField<Owner, Value>& each) {
    subtract(later.*each.member, earlier.*each.member);
  };
  for_each_field<Record>([&](const auto& each) {
    if constexpr (requires { each_counter(each); }) each_counter(each);
  });
}

}  // namespace ublkbench
