// SPDX-License-Identifier: MIT
// Axes by name, and "mode=batch,auto_zc,qd=32" as a filter on them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "analyzers/record.hpp"

namespace ublkbench::analyzers {

/// "arm" is the run's label; the others are a cell's, see bench/record/axes.hpp.
bool is_axis(std::string_view name);
/// "arm, kind, mode, ...".
std::string known_axes();
/// Of "arm": `arm`.
std::string axis_value(std::string_view axis, const Axes& axes, std::string_view arm);

class Filter {
 public:
  /// AXIS=VALUE[|VALUE...] joined by commas, all of which must hold. A comma begins a new term only
  /// before AXIS=, since modes have commas of their own. Empty text lets all pass.
  static Result<Filter> parse(std::string_view text);

  [[nodiscard]] bool passes(const Axes& axes, std::string_view arm) const;

 private:
  struct Term {
    std::string axis;
    std::vector<std::string> values;
  };
  std::vector<Term> terms_;
};

}  // namespace ublkbench::analyzers
