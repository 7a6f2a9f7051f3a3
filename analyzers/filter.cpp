// SPDX-License-Identifier: MIT
#include "analyzers/filter.hpp"

#include <algorithm>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::analyzers {
namespace {

/// Where the next ",AXIS=" begins, from `from` on.
std::size_t end_of_term(std::string_view text, std::size_t from) {
  for (std::size_t comma = text.find(',', from); comma != std::string_view::npos;
       comma = text.find(',', comma + 1)) {
    const std::string_view rest = text.substr(comma + 1);
    const std::size_t equals = rest.find('=');
    const std::size_t next_comma = rest.find(',');
    if (equals != std::string_view::npos && equals < next_comma) return comma;
  }
  return text.size();
}

}  // namespace

bool is_axis(std::string_view name) { return name == "arm" || axis_named(name) != nullptr; }

std::string known_axes() { return "arm, " + axis_names(); }

std::string axis_value(std::string_view axis, const Axes& axes, std::string_view arm) {
  return axis == "arm" ? std::string(arm) : axis_named(axis)->text(axes);
}

Result<Filter> Filter::parse(std::string_view text) {
  Filter filter;
  while (!text.empty()) {
    const std::size_t end = end_of_term(text, 0);
    const std::string_view term = text.substr(0, end);
    const std::size_t equals = term.find('=');
    if (equals == std::string_view::npos)
      return bad_input(formatted("filter '{}' is no AXIS=VALUE", term), "axes: " + known_axes());
    const std::string axis(term.substr(0, equals));
    if (!is_axis(axis))
      return bad_input(formatted("filter: there is no axis '{}'", axis), "axes: " + known_axes());
    std::vector<std::string> values = split(term.substr(equals + 1), '|');
    if (const Axis* const known = axis_named(axis))
      for (std::string& value : values) value = known->canonical(value);
    filter.terms_.push_back({axis, std::move(values)});
    text = end < text.size() ? text.substr(end + 1) : std::string_view();
  }
  return filter;
}

bool Filter::passes(const Axes& axes, std::string_view arm) const {
  return std::ranges::all_of(terms_, [&](const Term& term) {
    return std::ranges::find(term.values, axis_value(term.axis, axes, arm)) != term.values.end();
  });
}

}  // namespace ublkbench::analyzers
