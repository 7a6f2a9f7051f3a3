// SPDX-License-Identifier: MIT
#include "analyzers/history.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "analyzers/json_stream.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/record/axes_json.hpp"
#include "bench/record/facts_json.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;

constexpr const char* history_schema = "ublkbench.history/1";

json cell_json(const CellRecord& cell) {
  json rounds = json::array();
  json figures = json::object();
  for (const SampleFigures& sample : cell.samples) rounds.push_back(sample.round);
  for (std::size_t at = 0; at < figure_count; ++at) {
    const auto figure = static_cast<Figure>(at);
    if (cell.values(figure).empty()) continue;
    json& values = figures[std::string(traits(figure).name)] = json::array();
    for (const SampleFigures& sample : cell.samples) {
      const auto value = sample.value(figure);
      values.push_back(value ? json(*value) : json());
    }
  }
  json object = cell.axes;
  object.update({{"id", cell.id},
                 {"failed", cell.failed},
                 {"rounds", std::move(rounds)},
                 {"figures", std::move(figures)}});
  // A cell whose own samples differ is like no other: it goes by both.
  if (!cell.queue) return object;
  Facts queue = *cell.queue;
  for (const Facts& other : cell.other_queues)
    for (const auto& [name, value] : other)
      if (std::string& first = queue[name]; first != value)
        first = formatted("[{},{}]", first.empty() ? "null" : first, value);
  object["queue"] = json_of(queue);
  return object;
}

bool is_true(const std::optional<JsonReader::Element>& element) {
  bool value = false;
  return element && element->get(value) == simdjson::SUCCESS && value;
}

class HistoryBuilder {
 public:
  HistoryBuilder(const std::string& path, std::span<const Figure> figures)
      : path_(path), figures_(figures) {}

  /// Padded text, as JsonStream gives it.
  Result<> add(std::string_view line, std::uint64_t at_byte) {
    const std::string where = formatted("{}, byte {} is no line of a history", path_, at_byte);
    std::optional<Error> error;
    JsonReader reader(where, "", error);
    const auto parsed = parser_.parse(line.data(), line.size(), false);
    JsonReader::Object document;
    if (parsed.error() != simdjson::SUCCESS)
      reader.complain("", formatted("broken JSON ({})", simdjson::error_message(parsed.error())));
    else if (parsed.get(document) != simdjson::SUCCESS)
      reader.complain("", "no JSON object");
    else if (const std::string found = reader.string(document, "schema"); found != history_schema)
      reader.complain("", formatted("its schema is '{}', not '{}'", found, history_schema));
    else
      add_run(reader, document);
    if (error) return std::unexpected(error->with_hint("restore the file, or delete the line"));
    return {};
  }

  History take(std::uint64_t torn_bytes) {
    history_.torn_bytes = torn_bytes;
    return std::move(history_);
  }

 private:
  using Object = JsonReader::Object;

  void add_run(JsonReader& reader, const Object& document) {
    const Object run = reader.object(document, "run");
    JsonReader in_run = reader.inside("run");
    const Object tool = in_run.object(run, "tool");
    const Object fields = reader.object(document, "fields");
    HistoryRun added{.id = in_run.string(run, "id"),
                     .started = in_run.string(run, "started"),
                     .commit = in_run.inside("tool").string(tool, "commit"),
                     .dirty = is_true(in_run.find(tool, "dirty")),
                     .clock = in_run.string(run, "clock"),
                     .fields = {}};
    simdjson::dom::array cells;
    const auto list = reader.find(document, "cells");
    if (!list || list->get(cells) != simdjson::SUCCESS) reader.complain("cells", "is no list");
    // Two processes may have appended the same run.
    if (reader.failed() || !ids_.insert(added.id).second) return;
    added.fields = values_of(std::string(simdjson::minify(fields)));
    history_.runs.push_back(std::move(added));
    std::size_t number = 0;
    for (const auto& element : cells) {
      JsonReader at = reader.inside(formatted("cells[{}]", number++));
      Object cell;
      if (element.get(cell) != simdjson::SUCCESS) return at.complain("", "is no object");
      add_cell(at, cell);
    }
  }

  void add_cell(JsonReader& at, const Object& cell) {
    std::string id = at.string(cell, "id");
    Axes axes = read_axes(at, cell);
    const auto [place, is_new] = places_.try_emplace(id, history_.cells.size());
    if (is_new)
      history_.cells.push_back({.id = std::move(id), .axes = std::move(axes), .runs = {}});
    HistoryValues values{.run = history_.runs.size() - 1, .values = {}};
    if (const auto queue = at.optional_object(cell, "queue")) {
      const auto [known, first] = history_.queues.try_emplace(simdjson::minify(*queue));
      if (first) known->second = values_of(known->first);
      values.queue = &known->second;
    }
    simdjson::dom::array rounds;
    const auto list = at.find(cell, "rounds");
    if (!list || list->get(rounds) != simdjson::SUCCESS) return at.complain("rounds", "is no list");
    const Object of_cell = at.object(cell, "figures");
    if (at.failed()) return;
    for (const Figure figure : figures_)
      add_values(at.inside("figures"), of_cell, figure, rounds.size(), values.values);
    history_.cells[place->second].runs.push_back(std::move(values));
  }

  static void add_values(JsonReader at, const Object& of_cell, Figure figure, std::size_t samples,
                         std::map<Figure, std::vector<double>>& found) {
    const std::string_view name = traits(figure).name;
    const auto element = at.find(of_cell, name);
    if (!element) return;
    simdjson::dom::array list;
    if (element->get(list) != simdjson::SUCCESS || list.size() != samples)
      return at.complain(name, "has not a value for each sample");
    for (const auto& entry : list) {
      double value = 0;
      if (entry.is_null()) continue;
      if (entry.get(value) != simdjson::SUCCESS) return at.complain(name, "has what is no number");
      found[figure].push_back(value);
    }
  }

  const std::string& path_;
  std::span<const Figure> figures_;
  History history_;
  std::unordered_set<std::string> ids_;
  std::unordered_map<std::string, std::size_t> places_;  ///< of each cell in History::cells
  simdjson::dom::parser parser_;
};

}  // namespace

Result<std::string> history_line(const Record& record) {
  for (const char* name : {"id", "started"})
    if (!fact_word(record.run, name))
      return bad_input(formatted("{}: run.{} is missing", record.path, name),
                       "a history tells runs by it");
  if (std::ranges::all_of(record.cells, [](const CellRecord& c) { return c.samples.empty(); }))
    return bad_input(record.path + " has no good sample", "there is nothing to remember of it");
  json run = json::object();
  for (const char* name : {"id", "started", "argv", "seed", "tool", "clock"})
    if (const std::string* const value = fact(record.run, name))
      run[name] = json::parse(*value, nullptr, false);
    else if (has_fact(record.run, name))
      run[name] = json_of(facts_below(record.run, name));
  json cells = json::array();
  for (const CellRecord& cell : record.cells) cells.push_back(cell_json(cell));
  return json_text({{"schema", history_schema},
                    {"run", std::move(run)},
                    {"fields", json_of(record.comparable_fields())},
                    {"cells", std::move(cells)}});
}

bool History::has(const std::string& run_id) const {
  return std::ranges::contains(runs, run_id, &HistoryRun::id);
}

std::string History::remark(const std::string& path) const {
  if (torn_bytes == 0) return {};
  return formatted(
      "{}: the last line has no end and is left out ({} bytes); the next 'trend add' cuts it off",
      path, torn_bytes);
}

Result<History> read_history(const std::string& path, std::span<const Figure> figures) {
  const auto unreadable = [&](int errnum) {
    return std::unexpected(
        failed("read the history", path, errnum, "'ublkbench trend add' makes one")
            .error()
            .with_exit(ExitCode::usage));
  };
  auto lines = JsonStream::open(path);
  if (!lines) return unreadable(lines.error().errnum);
  HistoryBuilder builder(path, figures);
  std::uint64_t at = 0;
  while (!lines->at_end()) {
    bool ended = false;
    const std::string_view line = lines->line(ended);
    if (lines->errnum() != 0) return unreadable(lines->errnum());
    if (!ended) return builder.take(line.size());
    const std::size_t bytes = line.size() + 1;
    if (auto done = builder.add(line, at); !done) return std::unexpected(done.error());
    at += bytes;
  }
  if (lines->errnum() != 0) return unreadable(lines->errnum());
  return builder.take(0);
}

}  // namespace ublkbench::analyzers
