// SPDX-License-Identifier: MIT
// A document's values by their dotted names: what two runs are held against each other by, and what
// of a record has no type of its own.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ublkbench {

/// "kernel.release" -> "\"7.3.4\"": each value of an object that is no object itself, as JSON. A
/// whole number is written as one; a list is one value.
using Facts = std::map<std::string, std::string, std::less<>>;

/// Of an object as text; empty for what is none.
Facts facts_of(std::string_view json);
/// Of the uppermost level only: an object below is a value, too.
Facts values_of(std::string_view json);

/// The value as JSON; null: there is none.
const std::string* fact(const Facts& facts, std::string_view name);
/// Of a string; nothing: there is none, or it is no string.
std::optional<std::string> fact_word(const Facts& facts, std::string_view name);
/// Of a number.
std::optional<double> fact_number(const Facts& facts, std::string_view name);

/// Whether `field` is `name` or below it: "work.device" has "work.device.depth".
bool is_below(std::string_view field, std::string_view name);
/// Whether there is anything at or below `name`.
bool has_fact(const Facts& facts, std::string_view name);
/// What is below `name`, by the rest of its name.
Facts facts_below(const Facts& facts, std::string_view name);

}  // namespace ublkbench
