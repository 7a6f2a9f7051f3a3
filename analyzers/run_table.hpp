// SPDX-License-Identifier: MIT
// The table of a run: samples of a cell brought together, and what is the same in all rows said
// once above them.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "analyzers/record.hpp"

namespace ublkbench::analyzers {

/// Median and range of a figure over the good samples of a cell.
struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

struct CellSummary {
  const CellRecord* cell;
  /// What was checked: "contents", "completions"; or "off", "FAILED", "not (WHY)". Cells of one
  /// mode and target share it: one of them was verified.
  std::string verified;
  std::array<std::optional<Spread>, figure_count> figures;
  std::optional<double> ratio_to_first;    ///< IOPS against the first mode under the same load
  std::optional<double> ratio_to_bare;     ///< IOPS against the same without its probes
  std::optional<double> ratio_to_control;  ///< IOPS against the control under the same load

  [[nodiscard]] const std::optional<Spread>& of(Figure figure) const {
    return figures[static_cast<std::size_t>(figure)];
  }
};

/// In the record's order; they point into it.
std::vector<CellSummary> summarize(const Record& record);

enum class TableFormat : std::uint8_t { text, record, markdown, csv };
Result<TableFormat> parse_format(const std::string& word);

/// How much of the probes' histograms the text shows: a line each, or their pictures.
enum class ProbeText : std::uint8_t { brief, histograms };

struct RunTableOptions {
  TableFormat format = TableFormat::text;  ///< but not `record`, which is the JSON itself
  ProbeText probes = ProbeText::brief;
  std::size_t width = 0;  ///< see TextTable::aligned()
};

std::string run_table(const Record& record, const RunTableOptions& options);

}  // namespace ublkbench::analyzers
