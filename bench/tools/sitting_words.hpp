// SPDX-License-Identifier: MIT
// The words of `ublkbench run` that both sides of a sitting get, with the matrix taken apart: the
// gate measures cell by cell.
#pragma once

#include <string>
#include <vector>

#include "analyzers/record.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

struct SittingWords {
  std::vector<std::string> matrix;  ///< --mode, --qd and the other axes, as typed
  std::vector<std::string> common;  ///< the rest
  std::string control = "null_blk";

  /// Refuses what the gate decides itself (how much work, where records go) and a sitting without
  /// a control.
  static Result<SittingWords> parse(const std::vector<std::string>& words);

  /// The words that make one cell.
  static std::vector<std::string> of_cell(const analyzers::Axes& axes, const std::string& target);
};

}  // namespace ublkbench
