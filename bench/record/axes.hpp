// SPDX-License-Identifier: MIT
// The axes of the matrix: what tells a cell of a run from its others. One table says how each is
// called, recorded, printed, compared and filtered: plan, table, compare, trend and gate ask it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench {

/// Where a cell stands in the matrix. An axis that is left blank is that of the columns of a
/// comparison, whose rows share the others.
struct Axes {
  std::string kind;  ///< "ublk", "control", "external"
  std::string mode;  ///< of a control "(null_blk)"
  std::string target;
  std::uint64_t depth = 0;
  std::uint64_t block_bytes = 0;
  std::string pattern;
  std::string probes = {};     ///< that were attached; empty: none
  std::string scheduler = {};  ///< I/O scheduler asked for of the measured device; empty: none

  [[nodiscard]] bool is_control() const { return kind == "control"; }
  /// "batch,auto_zc null qd=128 bs=4k randread": for people, and unique in a run.
  [[nodiscard]] std::string name() const;
  auto operator<=>(const Axes&) const = default;
};

struct Axis {
  std::string_view name;  ///< in filters and on command lines: "qd"
  std::string_view key;   ///< in JSON and CSV: "depth"
  std::variant<std::string Axes::*, std::uint64_t Axes::*> field;
  std::string_view label = {};  ///< before its value in a cell's name: "qd="
  /// Whether a cell's name has it: 'kind' shows in the mode, a control's target, too.
  enum class Named : std::uint8_t { never, always, of_ublk } named = Named::always;
  bool is_size = false;      ///< "4k" for people
  bool may_be_none = false;  ///< empty is "none" for people; older records lack it
  bool is_load = true;       ///< the load's: a control has it, too
  /// The option of `run` that gives its values; empty: the command line has a way of its own.
  std::string_view option = {};
  std::string_view help = {};
  Result<> (*check)(const std::string& value) = nullptr;  ///< of one value as typed

  /// For people and filters: "4k", "none".
  [[nodiscard]] std::string text(const Axes& axes) const;
  /// As CSV has it: in base units.
  [[nodiscard]] std::string raw(const Axes& axes) const;
  /// "4096" and "4k" are one value of 'bs'.
  [[nodiscard]] std::string canonical(const std::string& value) const;
  [[nodiscard]] bool is_word() const { return field.index() == 0; }
  [[nodiscard]] bool is_blank(const Axes& axes) const;
  void clear(Axes& axes) const;
  /// As typed: what text() gives is taken.
  Result<> set(Axes& axes, const std::string& value) const;
  /// Numbers by size, words by letters.
  [[nodiscard]] bool less(const Axes& a, const Axes& b) const;
};

std::span<const Axis> all_axes();
/// Null: there is none.
const Axis* axis_named(std::string_view name);
/// "kind, mode, target, ...".
std::string axis_names();
/// Whether two cells are loaded alike, as a cell and its control are.
bool same_load(const Axes& a, const Axes& b);
/// `settings` with each of them times the values of one more axis, as typed in a list.
Result<std::vector<Axes>> crossed(const std::vector<Axes>& settings, const Axis& axis,
                                  const std::string& values);

}  // namespace ublkbench
