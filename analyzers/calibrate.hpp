// SPDX-License-Identifier: MIT
// What this machine can resolve: all samples of a cell are of the same thing, so their spread is
// noise, and the noise says how large a change must be for `compare` to call it, with so many
// samples.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analyzers/judge.hpp"
#include "analyzers/record.hpp"

namespace ublkbench::analyzers {

/// Samples a cell and side for which the resolution is told.
inline constexpr std::size_t resolution_samples[] = {5, 10, 20, 40};
/// A cell with fewer samples says nothing about its noise.
inline constexpr std::size_t calibration_samples_min = 10;

struct CellNoise {
  std::string id;
  bool is_control = false;
  std::size_t n = 0;
  std::size_t failed = 0;
  std::optional<double> median;
  std::optional<double> deviation;  ///< standard deviation of the logarithms: 0.01 is 1 %
  std::optional<double> drift;      ///< ratio of the second half's median to the first's
  Judgement a_a;                    ///< every second sample against the others
  /// For each of `resolution_samples`: the smallest change (0.06 is 6 %) that is called worse nine
  /// times of ten.
  std::vector<std::optional<double>> resolved;
};

struct Calibration {
  Figure figure = Figure::ns_per_io;
  Rule rule;
  std::vector<CellNoise> cells;
  double round_s = 0;         ///< all cells once, of one side
  std::size_t a_a_flags = 0;  ///< cells that were called better or worse, and are not
};

/// The change that `judge` calls worse in nine of ten comparisons of n and n samples with noise
/// like that of `logs`, the logarithms of the samples; nothing where n samples give no interval.
std::optional<double> smallest_resolved(std::span<const double> logs, std::size_t n,
                                        const Rule& rule);

/// Nothing is an error but a record with too few samples of every cell.
Result<Calibration> calibrate(const Record& record, Figure figure);

std::string calibration_text(const Calibration& calibration);
/// JSON.
std::string calibration_document(const Calibration& calibration);

}  // namespace ublkbench::analyzers
