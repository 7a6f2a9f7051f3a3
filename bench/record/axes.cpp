// SPDX-License-Identifier: MIT
#include "bench/record/axes.hpp"

#include <algorithm>
#include <array>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench {
namespace {

/// The longest that the kernel reads (ELV_NAME_MAX in block/elevator.h has room for its end).
constexpr std::size_t scheduler_name_max = 15;

Result<> check_scheduler_word(const std::string& word) {
  if (!word.empty() && word.size() <= scheduler_name_max &&
      word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_") == std::string::npos)
    return {};
  return bad_input(formatted("--scheduler '{}'", word),
                   "use none, keep, or a word of /sys/block/X/queue/scheduler");
}

constexpr std::array table{
    Axis{.name = "kind",
         .key = "kind",
         .field = &Axes::kind,
         .named = Axis::Named::never,
         .is_load = false},
    Axis{.name = "mode", .key = "mode", .field = &Axes::mode, .is_load = false},
    Axis{.name = "target",
         .key = "target",
         .field = &Axes::target,
         .named = Axis::Named::of_ublk,
         .is_load = false},
    Axis{.name = "qd", .key = "depth", .field = &Axes::depth, .label = "qd="},
    Axis{.name = "bs",
         .key = "block_bytes",
         .field = &Axes::block_bytes,
         .label = "bs=",
         .is_size = true},
    Axis{.name = "rw", .key = "pattern", .field = &Axes::pattern},
    Axis{.name = "probes",
         .key = "probes",
         .field = &Axes::probes,
         .label = "probes=",
         .may_be_none = true,
         .is_load = false},
    Axis{.name = "scheduler",
         .key = "scheduler",
         .field = &Axes::scheduler,
         .label = "scheduler=",
         .may_be_none = true,
         .option = "--scheduler",
         .help = "I/O scheduler of every measured device: a word of its queue/scheduler, or keep; "
                 "devices of others get theirs back at the end",
         .check = check_scheduler_word}};

const std::string* words_of(const Axis& axis, const Axes& axes) {
  const auto* const field = std::get_if<std::string Axes::*>(&axis.field);
  return field != nullptr ? &(axes.**field) : nullptr;
}

std::uint64_t number_of(const Axis& axis, const Axes& axes) {
  return axes.*std::get<std::uint64_t Axes::*>(axis.field);
}

}  // namespace

std::string Axes::name() const {
  std::string text;
  for (const Axis& axis : table) {
    const bool is_named = axis.named == Axis::Named::always ||
                          (axis.named == Axis::Named::of_ublk && !mode.starts_with('('));
    if (!is_named || axis.is_blank(*this)) continue;
    text += formatted("{}{}{}", text.empty() ? "" : " ", axis.label, axis.text(*this));
  }
  return text;
}

std::string Axis::text(const Axes& axes) const {
  if (const std::string* const words = words_of(*this, axes))
    return words->empty() && may_be_none ? "none" : *words;
  return is_size ? format_size(number_of(*this, axes)) : raw(axes);
}

std::string Axis::raw(const Axes& axes) const {
  const std::string* const words = words_of(*this, axes);
  return words != nullptr ? *words : std::to_string(number_of(*this, axes));
}

std::string Axis::canonical(const std::string& value) const {
  const auto bytes = is_size ? parse_size(value) : Result<std::uint64_t>(0);
  return is_size && bytes ? format_size(*bytes) : value;
}

bool Axis::is_blank(const Axes& axes) const {
  const std::string* const words = words_of(*this, axes);
  return words != nullptr ? words->empty() : number_of(*this, axes) == 0;
}

void Axis::clear(Axes& axes) const {
  std::visit([&](auto member) { axes.*member = {}; }, field);
}

Result<> Axis::set(Axes& axes, const std::string& value) const {
  if (check != nullptr)
    if (auto checked = check(value); !checked) return checked;
  if (const auto* const words = std::get_if<std::string Axes::*>(&field)) {
    axes.** words = may_be_none && value == "none" ? std::string() : value;
    return {};
  }
  const auto number = is_size ? parse_size(value) : parse_count(value);
  if (!number)
    return bad_input(formatted("{}: {}", option, number.error().operation), number.error().hint);
  axes.*std::get<std::uint64_t Axes::*>(field) = *number;
  return {};
}

bool Axis::less(const Axes& a, const Axes& b) const {
  return std::visit([&](auto member) { return a.*member < b.*member; }, field);
}

std::span<const Axis> all_axes() { return table; }

const Axis* axis_named(std::string_view name) {
  const auto found = std::ranges::find(table, name, &Axis::name);
  return found == table.end() ? nullptr : &*found;
}

bool same_load(const Axes& a, const Axes& b) {
  return std::ranges::all_of(table, [&](const Axis& axis) {
    return !axis.is_load || (!axis.less(a, b) && !axis.less(b, a));
  });
}

Result<std::vector<Axes>> crossed(const std::vector<Axes>& settings, const Axis& axis,
                                  const std::string& values) {
  std::vector<Axes> all;
  const std::vector<std::string> list = split(values, ',');
  if (list.empty()) return bad_input(formatted("{} is empty", axis.option));
  for (const Axes& setting : settings)
    for (const std::string& value : list) {
      all.push_back(setting);
      if (auto set = axis.set(all.back(), value); !set) return std::unexpected(set.error());
    }
  return all;
}

std::string axis_names() {
  std::string names;
  for (const Axis& axis : table) names += formatted("{}{}", names.empty() ? "" : ", ", axis.name);
  return names;
}

}  // namespace ublkbench
