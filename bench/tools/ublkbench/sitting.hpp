// SPDX-License-Identifier: MIT
// The hardware gate's measuring: two builds in turns, `PROGRAM run ...` for each sample, until the
// intervals are narrow enough; what looks slower is measured again with fresh pairs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analyzers/gate_outcome.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

/// One side: a ublkbench, or a program that hands its words to one elsewhere (another kernel).
struct SittingSide {
  std::string program;
  /// A target that stands in for each of the other side's: the self-test's slower server.
  std::string instead_of_target;
  std::string target;
};

struct SittingOptions {
  SittingSide before;
  SittingSide now;
  std::vector<std::string> words;  ///< of `run`, for both: the matrix and the load
  unsigned pairs = 10;             ///< at first; twice as many where the interval stays too wide
  std::uint64_t sample_ns = 1'000'000'000;
  std::uint64_t seed = 1;
  std::string folder;  ///< where the records stay; empty: nowhere
  analyzers::GateOptions gate;
};

/// An error is bad input, an environment that cannot do it, or an interruption.
Result<analyzers::GateOutcome> hold_sitting(const SittingOptions& options);

}  // namespace ublkbench
