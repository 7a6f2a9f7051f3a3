// SPDX-License-Identifier: MIT
#include "bench/suite/summary.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace ublkbench {
namespace {

using nlohmann::json;

double number(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

/// Figures of one good sample; see CellSummary::figures for the names.
std::map<std::string, double> figures_of(const json& sample) {
  std::map<std::string, double> figures;
  const json& load = sample["load"];
  const double ios = number(load, "measured_ios");
  if (ios == 0) return figures;
  figures["iops"] = number(load, "iops");
  const auto latency = load.find("latency_ns");
  if (latency != load.end() && latency->is_object())
    for (const auto& [key, name] :
         {std::pair{"p50", "p50_ns"}, {"p99", "p99_ns"}, {"p999", "p999_ns"}})
      figures[name] = number(*latency, key);
  for (const auto& [key, name] : {std::pair{"load_cpu_ns", "load_cpu_ns"},
                                  {"server_cpu_ns", "server_cpu_ns"},
                                  {"load_instructions", "load_instructions"},
                                  {"server_instructions", "server_instructions"},
                                  {"total_instructions", "total_instructions"}})
    if (const auto found = sample["per_io"].find(key);
        found != sample["per_io"].end() && found->is_number())
      figures[name] = found->get<double>();
  if (const auto server = sample.find("server"); server != sample.end() && server->is_object()) {
    figures["fetch_batch"] = number((*server)["fetch_batch"], "mean");
    figures["commit_batch"] = number((*server)["commit_batch"], "mean");
    figures["enters"] = number(*server, "enters") / ios;
    const double hits = number(*server, "shared_memory_hits");
    const double all = hits + number(*server, "shared_memory_misses");
    if (all > 0) figures["shared_memory_hit_ratio"] = hits / all;
  }
  return figures;
}

/// Verification runs once a mode and target, so cells share its outcome.
std::string verify_word(const json& document, const CellSummary& summary) {
  std::string word = "off";
  for (const json& cell : document["cells"]) {
    if (cell["mode"] != summary.mode || cell["target"] != summary.target) continue;
    for (const json& sample : document["samples"]) {
      if (sample["cell"] != cell["id"] || !sample.contains("verify")) continue;
      if (sample["verify"].value("status", "") == "failed") return "FAILED";
      word = sample["verify"].value("checked", "off");
    }
  }
  return word;
}

CellSummary summary_of(const json& cell, const json& document) {
  const json& samples = document["samples"];
  CellSummary summary{.id = cell["id"],
                      .kind = cell["kind"],
                      .mode = cell["mode"].is_string()
                                  ? cell["mode"].get<std::string>()
                                  : "(" + cell["target"].get<std::string>() + ")",
                      .target = cell["target"],
                      .depth = cell["depth"],
                      .block_bytes = cell["block_bytes"],
                      .pattern = cell["pattern"],
                      .probes = cell.value("probes", "")};
  std::map<std::string, std::vector<double>> values;
  for (const json& sample : samples) {
    if (sample["cell"] != summary.id) continue;
    if (sample["status"] != "ok") {
      ++summary.failed;
      summary.reason = sample.value("reason", "");
      continue;
    }
    ++summary.good;
    for (const auto& [name, value] : figures_of(sample)) values[name].push_back(value);
  }
  for (auto& [name, list] : values)
    if (const auto spread = spread_of(std::move(list))) summary.figures[name] = *spread;
  if (summary.kind == "ublk") summary.verify = verify_word(document, summary);
  return summary;
}

bool same_load(const CellSummary& a, const CellSummary& b) {
  return a.depth == b.depth && a.block_bytes == b.block_bytes && a.pattern == b.pattern;
}

std::optional<double> iops_ratio(const CellSummary& cell, const CellSummary& base) {
  const auto of = [](const CellSummary& summary) {
    const auto found = summary.figures.find("iops");
    return found == summary.figures.end() ? 0.0 : found->second.median;
  };
  if (of(base) <= 0 || of(cell) <= 0) return std::nullopt;
  return of(cell) / of(base);
}

void add_ratios(std::vector<CellSummary>& cells) {
  for (CellSummary& cell : cells) {
    if (cell.kind == "control") continue;
    const auto first = std::ranges::find_if(cells, [&cell](const CellSummary& other) {
      return other.kind == cell.kind && other.target == cell.target && same_load(other, cell) &&
             other.probes == cell.probes;
    });
    const auto bare = std::ranges::find_if(cells, [&cell](const CellSummary& other) {
      return other.kind == cell.kind && other.mode == cell.mode && other.target == cell.target &&
             same_load(other, cell) && other.probes.empty();
    });
    const auto control = std::ranges::find_if(cells, [&cell](const CellSummary& other) {
      return other.kind == "control" && same_load(other, cell);
    });
    if (first->id != cell.id) cell.ratio_to_first = iops_ratio(cell, *first);
    if (bare != cells.end() && !cell.probes.empty()) cell.ratio_to_bare = iops_ratio(cell, *bare);
    if (control != cells.end()) cell.ratio_to_control = iops_ratio(cell, *control);
  }
}

}  // namespace

std::optional<Spread> spread_of(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return Spread{.median = median, .min = values.front(), .max = values.back()};
}

std::vector<CellSummary> summarize(const json& document) {
  std::vector<CellSummary> cells;
  for (const json& cell : document["cells"]) cells.push_back(summary_of(cell, document));
  add_ratios(cells);
  return cells;
}

Result<TableFormat> parse_format(const std::string& word) {
  if (word == "text") return TableFormat::text;
  if (word == "json") return TableFormat::json;
  if (word == "md" || word == "markdown") return TableFormat::markdown;
  if (word == "csv") return TableFormat::csv;
  return bad_input(std::format("unknown format '{}'", word), "use text, json, md or csv");
}

}  // namespace ublkbench
