// SPDX-License-Identifier: MIT
#include "analyzers/history.hpp"

#include <algorithm>
#include <format>
#include <fstream>

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;

constexpr const char* schema = "ublkbench.history/1";

json cell_json(const CellRecord& cell) {
  json rounds = json::array();
  json figures = json::object();
  for (const Sample& sample : cell.samples) rounds.push_back(sample.round);
  for (std::size_t at = 0; at < figure_count; ++at) {
    const auto figure = static_cast<Figure>(at);
    if (cell.values(figure).empty()) continue;
    json& values = figures[std::string(traits(figure).name)] = json::array();
    for (const Sample& sample : cell.samples) {
      const auto value = sample.figures.get(figure);
      values.push_back(value ? json(*value) : json());
    }
  }
  json object = cell.axes;
  object.update({{"id", cell.id},
                 {"failed", cell.failed},
                 {"rounds", std::move(rounds)},
                 {"figures", std::move(figures)}});
  return object;
}

/// Throws what nlohmann's JSON throws on a wrong shape; parse_history_line() makes an Error of it.
CellRecord cell_from(const json& object) {
  CellRecord cell{.id = object.at("id"), .axes = object, .failed = object.at("failed")};
  for (const json& round : object.at("rounds")) cell.samples.push_back({.round = round});
  for (const auto& [name, values] : object.at("figures").items()) {
    const auto figure = figure_named(name);
    if (!figure) continue;  // of a later program
    if (!values.is_array() || values.size() != cell.samples.size())
      throw std::invalid_argument(std::format("'{}' has not a {} for each sample", cell.id, name));
    for (std::size_t at = 0; at < values.size(); ++at)
      if (!values[at].is_null()) cell.samples[at].figures.set(*figure, values[at].get<double>());
  }
  return cell;
}

HistoryRun run_from(const json& document) {
  if (const std::string found = document.at("schema"); found != schema)
    throw std::invalid_argument(std::format("its schema is '{}', not '{}'", found, schema));
  const json& run = document.at("run");
  const json& tool = run.at("tool");
  HistoryRun found{.id = run.at("id"),
                   .started = run.at("started"),
                   .commit = tool.at("commit"),
                   .dirty = tool.value("dirty", json()) == true,
                   .clock = run.at("clock"),
                   .fields = document.at("fields"),
                   .cells = {}};
  if (!found.fields.is_object()) throw std::invalid_argument("'fields' is no object");
  for (const json& cell : document.at("cells")) found.cells.push_back(cell_from(cell));
  return found;
}

}  // namespace

Result<std::string> history_line(const Record& record) {
  for (const char* name : {"id", "started"})
    if (!record.run.contains(name) || !record.run[name].is_string())
      return bad_input(std::format("{}: run.{} is missing", record.path, name),
                       "a history tells runs by it");
  if (std::ranges::all_of(record.cells, [](const CellRecord& c) { return c.samples.empty(); }))
    return bad_input(record.path + " has no good sample", "there is nothing to remember of it");
  json run = json::object();
  for (const char* name : {"id", "started", "argv", "seed", "tool", "clock"})
    if (record.run.contains(name)) run[name] = record.run[name];
  json cells = json::array();
  for (const CellRecord& cell : record.cells) cells.push_back(cell_json(cell));
  return json{{"schema", schema},
              {"run", std::move(run)},
              {"fields", record.comparable_fields()},
              {"cells", std::move(cells)}}
      .dump();
}

Result<HistoryRun> parse_history_line(std::string_view line, const std::string& where) {
  try {
    return run_from(json::parse(line));
  } catch (const std::exception& problem) {
    std::string what = problem.what();
    std::ranges::replace(what, '\n', ' ');
    return bad_input(std::format("{} is no line of a history: {}", where, what),
                     "restore the file, or delete the line");
  }
}

Result<HistoryEnd> read_history(
    const std::string& path, std::uint64_t from,
    const std::function<Result<>(std::string_view line, std::uint64_t end)>& each) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  // A folder opens, and fails when it is read.
  if (!file || (file.peek(), file.bad()))
    return std::unexpected(
        failed("read the history", path, errno, "'ublkbench trend add' makes one")
            .error()
            .with_exit(ExitCode::usage));
  file.clear();
  file.seekg(static_cast<std::streamoff>(from));
  HistoryEnd end{.bytes = from};
  while (std::getline(file, line)) {
    if (file.eof()) {  // no newline
      end.torn_bytes = line.size();
      break;
    }
    end.bytes += line.size() + 1;
    if (auto done = each(line, end.bytes); !done) return std::unexpected(done.error());
  }
  return end;
}

}  // namespace ublkbench::analyzers
