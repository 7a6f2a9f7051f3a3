// SPDX-License-Identifier: MIT
// A calibration as people and programs read it.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "analyzers/calibrate.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;

constexpr std::size_t count_of_sizes = std::size(resolution_samples);

std::string percent(const std::optional<double>& part) {
  return part ? formatted("{:.1f} %", 100 * *part) : std::string("-");
}

/// Both sides, all cells; with the device and server that each sample makes for itself.
double minutes(const Calibration& calibration, std::size_t samples) {
  return 2 * static_cast<double>(samples) * calibration.round_s / 60;
}

std::optional<double> worst(const Calibration& calibration, std::size_t size) {
  std::optional<double> found;
  for (const CellNoise& cell : calibration.cells)
    if (!cell.resolved.empty() && cell.resolved[size] && !cell.is_control)
      found = std::max(found.value_or(0), *cell.resolved[size]);
  return found;
}

std::string cell_line(const CellNoise& cell, std::size_t width) {
  std::string text = formatted(
      "{:<{}}  {:>3}  {:>6}  {:>7}  {:>7}  {:<12}", cell.id, width, cell.n, percent(cell.deviation),
      cell.drift ? formatted("{:+.1f} %", 100 * (*cell.drift - 1)) : "-",
      cell.a_a.ratio ? formatted("{:.4f}", *cell.a_a.ratio) : "-", name_of(cell.a_a.verdict));
  for (std::size_t size = 0; size < count_of_sizes; ++size)
    text += formatted("  {:>7}", cell.resolved.empty() ? "-" : percent(cell.resolved[size]));
  return text + "\n";
}

}  // namespace

std::string calibration_text(const Calibration& calibration) {
  const FigureTraits& figure = traits(calibration.figure);
  std::string text = formatted(
      "{} ({}). All samples of a cell are of the same thing: what differs is noise.\n"
      "noise: standard deviation; drift: second half against the first; A/A: samples in turns, as "
      "compare judges them.\n"
      "The columns on the right: the smallest change that compare calls worse nine times of ten, "
      "by samples a side.\n\n",
      figure.name, figure.meaning);
  std::size_t width = 4;
  for (const CellNoise& cell : calibration.cells) width = std::max(width, cell.id.size());
  text += formatted("{:<{}}  {:>3}  {:>6}  {:>7}  {:>7}  {:<12}", "cell", width, "n", "noise",
                    "drift", "A/A", "verdict");
  for (const std::size_t samples : resolution_samples)
    text += formatted("  {:>7}", formatted("n={}", samples));
  text += "\n";
  for (const CellNoise& cell : calibration.cells) text += cell_line(cell, width);
  text += "\n";
  for (std::size_t size = 0; size < count_of_sizes; ++size)
    if (const auto change = worst(calibration, size))
      text +=
          formatted("{:>3} samples a side: every cell resolves {}, in {:.1f} min for both sides\n",
                    resolution_samples[size], percent(change),
                    minutes(calibration, resolution_samples[size]));
  if (calibration.a_a_flags != 0)
    text += formatted(
        "{} cell(s) were called better or worse than themselves: samples here do not repeat; "
        "look at the drift\n",
        calibration.a_a_flags);
  if (calibration.rule.counted)
    text +=
        "Under icount this is one boot's noise; boots differ by more, and the minutes are the "
        "guest's.\n";
  return text;
}

std::string calibration_document(const Calibration& calibration) {
  const auto number = [](const std::optional<double>& value) {
    return value ? json(*value) : json();
  };
  json cells = json::array();
  for (const CellNoise& cell : calibration.cells) {
    json resolved = json::array();
    for (const auto& change : cell.resolved) resolved.push_back(number(change));
    cells.push_back({{"cell", cell.id},
                     {"control", cell.is_control},
                     {"n", cell.n},
                     {"failed", cell.failed},
                     {"median", number(cell.median)},
                     {"deviation", number(cell.deviation)},
                     {"drift", number(cell.drift)},
                     {"a_a_ratio", number(cell.a_a.ratio)},
                     {"a_a_verdict", name_of(cell.a_a.verdict)},
                     {"resolved_change", std::move(resolved)}});
  }
  json sizes = json::array();
  for (std::size_t size = 0; size < count_of_sizes; ++size)
    sizes.push_back({{"samples", resolution_samples[size]},
                     {"resolved_change", number(worst(calibration, size))},
                     {"minutes", minutes(calibration, resolution_samples[size])}});
  const json document = {{"schema", "ublkbench.calibration/1"},
                         {"figure", traits(calibration.figure).name},
                         {"unit", traits(calibration.figure).unit},
                         {"rule",
                          {{"change", calibration.rule.change},
                           {"certain", calibration.rule.certain},
                           {"confidence", calibration.rule.confidence},
                           {"counted", calibration.rule.counted}}},
                         {"round_s", calibration.round_s},
                         {"a_a_flags", calibration.a_a_flags},
                         {"sizes", std::move(sizes)},
                         {"cells", std::move(cells)}};
  return json_text(document, 1) + '\n';
}

}  // namespace ublkbench::analyzers
