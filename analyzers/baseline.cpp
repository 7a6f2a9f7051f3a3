// SPDX-License-Identifier: MIT
#include "analyzers/baseline.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "analyzers/queue_settings.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/record/axes_json.hpp"
#include "bench/record/facts_json.hpp"
#include "bench/record/identity.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;

constexpr const char* schema = "ublkbench.baseline/1";

Error not_alike(const std::string& what, const std::string& how) {
  return {.operation = formatted("{} are not comparable:\n{}", what, how),
          .object = {},
          .errnum = 0,
          .hint = {},
          .exit = ExitCode::not_comparable};
}

Result<> check_alike(std::span<const Record> records) {
  const Facts reference = gate_fields(records.front());
  for (const Record& record : records) {
    if (!record.counts_instructions())
      return bad_input(record.path + " was not measured under icount",
                       "the path-length gate counts instructions: scripts/vm --icount");
    auto unlike = differences(reference, gate_fields(record));
    std::ranges::move(compare_queues(records.front().cells, record.cells).unlike,
                      std::back_inserter(unlike));
    if (!unlike.empty())
      return std::unexpected(
          not_alike(formatted("{} and {}", records.front().path, record.path), to_text(unlike)));
    if (record.commit() != records.front().commit())
      return bad_input(
          formatted("{} and {} are of different commits", records.front().path, record.path));
  }
  return {};
}

json samples_json(const CellRecord& cell) {
  json samples = json::object();
  for (const Figure figure : gated_figures)
    if (const auto values = cell.values(figure); !values.empty())
      samples[std::string(traits(figure).name)] = values;
  return samples;
}

json cell_json(const CellRecord& cell) {
  json object = cell.axes;
  object.update({{"id", cell.id}, {"ios", cell.ios}, {"samples", samples_json(cell)}});
  if (cell.queue) object["queue"] = json_of(*cell.queue);
  return object;
}

/// Throws nlohmann's exceptions on a wrong shape; read_baseline() turns them into an Error.
CellRecord cell_from(const json& object) {
  CellRecord cell{.id = object.at("id"), .axes = object, .ios = object.at("ios")};
  if (object.contains("queue")) cell.queue = values_of(json_text(object["queue"]));
  for (const auto& [name, values] : object.at("samples").items()) {
    const auto figure = figure_named(name);
    if (!figure) throw std::invalid_argument(formatted("unknown figure '{}'", name));
    const auto numbers = values.get<std::vector<double>>();
    if (cell.samples.empty()) cell.samples.resize(numbers.size());
    if (numbers.size() != cell.samples.size())
      throw std::invalid_argument(formatted("'{}' has samples missing", cell.id));
    for (std::size_t at = 0; at < numbers.size(); ++at) {
      if (!(numbers[at] > 0))
        throw std::invalid_argument(formatted("'{}' has a sample that is not positive", cell.id));
      cell.samples[at].round = at;
      cell.samples[at].figures.set(*figure, numbers[at]);
    }
  }
  if (cell.samples.size() < samples_min)
    throw std::invalid_argument(formatted("'{}' has fewer than {} samples", cell.id, samples_min));
  return cell;
}

Baseline baseline_from(const json& document) {
  if (const std::string found = document.at("schema"); found != schema)
    throw std::invalid_argument(formatted("its schema is '{}', not '{}'", found, schema));
  const json& accepted = document.at("accepted");
  Baseline baseline{.path = {},
                    .accepted = {.commit = accepted.at("commit"),
                                 .at = accepted.at("at"),
                                 .reason = accepted.at("reason")},
                    .fields = values_of(json_text(document.at("fields"))),
                    .cells = {}};
  if (!document.at("fields").is_object()) throw std::invalid_argument("'fields' is no object");
  for (const json& cell : document.at("cells")) baseline.cells.push_back(cell_from(cell));
  if (baseline.cells.empty()) throw std::invalid_argument("it has no cells");
  return baseline;
}

}  // namespace

Facts gate_fields(const Record& record) {
  Facts fields = record.comparable_fields();
  fields.erase("work.ios");
  return fields;
}

Result<std::vector<CellRecord>> pooled_cells(std::span<const Record> records) {
  if (records.empty()) return bad_input("no record to judge", "name one or more");
  if (auto alike = check_alike(records); !alike) return std::unexpected(alike.error());
  std::vector<CellRecord> cells;
  for (const Record& record : records)
    for (const CellRecord& cell : record.cells) {
      auto found = std::ranges::find(cells, cell.id, &CellRecord::id);
      if (found == cells.end()) {
        cells.push_back(cell);
        continue;
      }
      if (found->ios != cell.ios)
        return std::unexpected(not_alike("samples of " + cell.id,
                                         formatted("  ios: {} and {}\n", found->ios, cell.ios)));
      if (!found->queue) found->queue = cell.queue;
      found->samples.insert(found->samples.end(), cell.samples.begin(), cell.samples.end());
      found->failed += cell.failed;
      if (cell.failed != 0) found->reason = cell.reason;
    }
  return cells;
}

Result<Baseline> make_baseline(std::span<const Record> records, Acceptance accepted) {
  auto cells = pooled_cells(records);
  if (!cells) return std::unexpected(cells.error());
  const Facts& run = records.front().run;
  if (has_fact(run, "planted_instructions"))
    return bad_input("a build with planted instructions is no baseline", "use the release preset");
  if (const std::string* const dirty = fact(run, "tool.dirty"); !dirty || *dirty != "false")
    return bad_input("the programs had changes that are in no commit, or no commit at all",
                     "commit, build and measure again");
  if (std::ranges::none_of(*cells, [](const CellRecord& cell) { return cell.axes.is_control(); }))
    return bad_input("there is no control cell, which tells another machine from another server",
                     "measure with --control null_blk, on a kernel that has it");
  for (const CellRecord& cell : *cells)
    if (cell.failed != 0 || cell.samples.size() < samples_min)
      return bad_input(
          formatted("{}: {} sample(s), {} failed", cell.id, cell.samples.size(), cell.failed),
          formatted("a baseline has at least {} of each cell and no failure", samples_min));
  accepted.commit = records.front().commit();
  return Baseline{.path = {},
                  .accepted = std::move(accepted),
                  .fields = gate_fields(records.front()),
                  .cells = std::move(*cells)};
}

/// A line for each field and each cell, so that a diff shows what changed and nothing else.
std::string to_file_text(const Baseline& baseline) {
  const json accepted = {{"commit", baseline.accepted.commit},
                         {"at", baseline.accepted.at},
                         {"reason", baseline.accepted.reason}};
  std::string text = formatted("{{\n\"schema\": \"{}\",\n\"accepted\": {},\n\"fields\": {{", schema,
                               json_text(accepted));
  const char* separator = "\n";
  for (const auto& [name, value] : baseline.fields) {
    text += formatted("{}  {}: {}", separator, json_text(json(name)), value);
    separator = ",\n";
  }
  text += "\n},\n\"cells\": [";
  separator = "\n";
  for (const CellRecord& cell : baseline.cells) {
    text += separator + ("  " + json_text(cell_json(cell)));
    separator = ",\n";
  }
  return text + "\n]\n}\n";
}

Result<Baseline> read_baseline(const std::string& path) {
  std::ifstream file(path);
  std::error_code error;
  if (!file || std::filesystem::is_directory(path, error))
    return std::unexpected(failed("read the baseline", path, file ? EISDIR : errno,
                                  "make one with 'ublkbench baseline accept'")
                               .error()
                               .with_exit(ExitCode::usage));
  try {
    Baseline baseline = baseline_from(json::parse(file));
    baseline.path = path;
    return baseline;
  } catch (const std::exception& problem) {
    std::string what = problem.what();
    std::ranges::replace(what, '\n', ' ');
    return bad_input(formatted("{} is no baseline: {}", path, what),
                     "restore it from git, or accept a new one");
  }
}

}  // namespace ublkbench::analyzers
