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
  std::string verify = "auto";  ///< of the first run of both sides; "off" where it may not write

  /// Refuses what the gate decides itself (how much work, where records go), a sitting without a
  /// control, and a load that would write to what it may not.
  static Result<SittingWords> parse(const std::vector<std::string>& words);

  /// The words that make one cell.
  static std::vector<std::string> of_cell(const Axes& axes, const std::string& target);

 private:
  Result<> protect_data();
};

}  // namespace ublkbench
