// SPDX-License-Identifier: MIT
// Samples of a cell brought together, and the table of a run. Works on the record only.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench {

/// Median and range of a figure over the good samples of a cell.
struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};
std::optional<Spread> spread_of(std::vector<double> values);

struct CellSummary {
  std::string id;
  std::string kind;  ///< "ublk", "control", "external"
  std::string mode;
  std::string target;
  std::uint64_t depth = 0;
  std::uint64_t block_bytes = 0;
  std::string pattern;
  std::string probes;  ///< that were attached; empty: none
  std::size_t good = 0;
  std::size_t failed = 0;
  std::string reason;  ///< of the last failed sample
  std::string verify;  ///< what was checked: "contents", "completions"; or "off", "FAILED"
  /// By name: "iops", "p50_ns", "p99_ns", "p999_ns", "server_cpu_ns", "load_cpu_ns",
  /// "server_instructions", "load_instructions", "fetch_batch", "commit_batch", "enters": per I/O
  /// where that makes sense. Absent where not measured.
  std::map<std::string, Spread> figures;
  std::optional<double> ratio_to_first;    ///< IOPS against the first mode under the same load
  std::optional<double> ratio_to_bare;     ///< IOPS against the same without its probes
  std::optional<double> ratio_to_control;  ///< IOPS against the control under the same load
};

/// The document's cells, in the plan's order.
std::vector<CellSummary> summarize(const nlohmann::json& document);

enum class TableFormat { text, json, markdown, csv };
Result<TableFormat> parse_format(const std::string& word);

/// The table of a run, with what is the same in all rows said once above it.
std::string render(const nlohmann::json& document, TableFormat format);

}  // namespace ublkbench
