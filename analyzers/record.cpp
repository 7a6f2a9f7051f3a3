// SPDX-License-Identifier: MIT
#include "analyzers/record.hpp"

#include <filesystem>
#include <format>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "analyzers/json_reader.hpp"
#include "analyzers/json_stream.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;
using Element = simdjson::dom::element;
using Object = simdjson::dom::object;

constexpr std::string_view schema = "ublkbench.run/1";

std::unexpected<Error> broken(const std::string& path, std::string_view why) {
  return bad_input(std::format("{}: {}", path, why),
                   "the file is damaged, cut off, or no record of 'ublkbench run'");
}

/// Small parts go on as nlohmann's JSON, which everything else of the project uses.
json to_nlohmann(const Object& object) {
  return json::parse(simdjson::minify(object), nullptr, false);
}

class Builder {
 public:
  Builder(std::string path, Detail detail) : detail_(detail) { record_.path = std::move(path); }

  Result<> head(const Object& document) {
    JsonReader reader(record_.path, "", error_);
    const std::string found = reader.string(document, "schema");
    if (!error_ && found != schema)
      return bad_input(std::format("{}: its schema is '{}'", record_.path, found),
                       std::format("this program reads '{}'", schema));
    const Object run = reader.object(document, "run");
    const Object env = reader.object(document, "env");
    reader.inside("env").object(env, "key_fields");
    const Object tool = reader.inside("run").object(run, "tool");
    reader.inside("run").inside("tool").string(tool, "commit");
    reader.inside("run").string(run, "clock");
    if (error_) return std::unexpected(*error_);
    record_.run = to_nlohmann(run);
    record_.env = to_nlohmann(env);
    return {};
  }

  Result<> cells(const Object& document) {
    JsonReader reader(record_.path, "", error_);
    simdjson::dom::array list;
    const auto element = reader.find(document, "cells");
    if (!element || element->get(list) != simdjson::SUCCESS)
      return broken(record_.path, "'cells' is missing");
    for (const Element& entry : list) {
      JsonReader at = reader.inside(std::format("cells[{}]", record_.cells.size()));
      Object cell;
      if (entry.get(cell) != simdjson::SUCCESS) return broken(record_.path, "a cell is no object");
      add_cell(at, cell);
      if (error_) return std::unexpected(*error_);
    }
    return {};
  }

  void add_cell(JsonReader& at, const Object& cell) {
    CellRecord added;
    added.id = at.string(cell, "id");
    added.axes = {.kind = at.string(cell, "kind"),
                  .mode = {},
                  .target = at.string(cell, "target"),
                  .depth = at.count(cell, "depth"),
                  .block_bytes = at.count(cell, "block_bytes"),
                  .pattern = at.string(cell, "pattern")};
    added.axes.mode =
        at.find(cell, "mode") ? at.string(cell, "mode") : "(" + added.axes.target + ")";
    if (!index_.emplace(added.id, record_.cells.size()).second)
      at.complain("id", std::format("'{}' is there twice", added.id));
    record_.cells.push_back(std::move(added));
    seen_.emplace_back();
  }

  /// Padded text, as JsonStream gives it.
  Result<> sample(std::string_view text) {
    const auto parsed = parser_.parse(text.data(), text.size(), false);
    if (parsed.error() != simdjson::SUCCESS)
      return broken(record_.path, std::format("broken JSON in samples[{}] ({})", next_,
                                              simdjson::error_message(parsed.error())));
    JsonReader at(record_.path, std::format("samples[{}]", next_++), error_);
    Object object;
    if (parsed.get(object) != simdjson::SUCCESS)
      at.complain("", "is no object");
    else
      add_sample(at, object);
    if (error_) return std::unexpected(*error_);
    return {};
  }

  /// The run's own members may stand behind the cells.
  Result<Record> finish() {
    if (const json ios = record_.run.value("ios", json()); ios.is_number_unsigned())
      for (CellRecord& cell : record_.cells) cell.ios = ios.get<std::uint64_t>();
    return std::move(record_);
  }

 private:
  void add_sample(JsonReader& at, const Object& object) {
    const std::string id = at.string(object, "cell");
    const std::string status = at.string(object, "status");
    Sample sample{.round = at.count(object, "round"),
                  .order = at.count(object, "order"),
                  .elapsed_ns = at.count(object, "elapsed_ns")};
    if (error_) return;
    const auto found = index_.find(id);
    if (found == index_.end()) return at.complain("cell", std::format("'{}' is no cell", id));
    if (!seen_[found->second].insert(sample.round).second)
      return at.complain("round", std::format("{} of '{}' is there twice", sample.round, id));
    CellRecord& cell = record_.cells[found->second];
    if (status != "ok") {
      ++cell.failed;
      cell.reason = at.string(object, "reason");
      return;
    }
    if (figures(at, object, sample.figures)) {
      if (detail_ == Detail::evidence) cell.evidence.push_back(read_evidence(at, object));
      return cell.samples.push_back(sample);
    }
    ++cell.failed;
    cell.reason = "no I/O was measured";
  }

  /// False where nothing was measured.
  bool figures(JsonReader& at, const Object& object, Figures& figures) {
    const Object load = at.object(object, "load");
    const Object per_io = at.object(object, "per_io");
    JsonReader in_load = at.inside("load");
    const auto ios = static_cast<double>(in_load.count(load, "measured_ios"));
    const double window_ns = in_load.number(load, "window_ns");
    if (error_) return true;
    if (ios == 0 || window_ns == 0) return false;
    figures.set(Figure::ns_per_io, window_ns / ios);
    figures.set(Figure::iops, in_load.number(load, "iops"));
    set_latency(in_load, load, figures);
    JsonReader in_per_io = at.inside("per_io");
    for (const Figure figure :
         {Figure::server_cpu_ns, Figure::load_cpu_ns, Figure::server_instructions,
          Figure::load_instructions, Figure::total_instructions})
      if (const auto value = in_per_io.optional_number(per_io, traits(figure).name))
        figures.set(figure, *value);
    if (const auto server = at.optional_object(object, "server"))
      set_server(at.inside("server"), *server, ios, figures);
    return true;
  }

  static void set_latency(JsonReader& at, const Object& load, Figures& figures) {
    const auto latency = at.optional_object(load, "latency_ns");
    if (!latency) return;
    JsonReader inside = at.inside("latency_ns");
    for (const auto& [key, figure] :
         {std::pair{"p50", Figure::p50_ns}, {"p99", Figure::p99_ns}, {"p999", Figure::p999_ns}})
      figures.set(figure, inside.number(*latency, key));
  }

  static void set_server(JsonReader at, const Object& server, double ios, Figures& figures) {
    for (const auto& [key, figure] :
         {std::pair{"fetch_batch", Figure::fetch_batch}, {"commit_batch", Figure::commit_batch}})
      figures.set(figure, at.inside(key).number(at.object(server, key), "mean"));
    figures.set(Figure::enters, at.number(server, "enters") / ios);
  }

  Record record_;
  Detail detail_;
  std::optional<Error> error_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<std::unordered_set<std::uint64_t>> seen_;  ///< rounds of each cell
  simdjson::dom::parser parser_;
  std::size_t next_ = 0;
};

Result<Object> parse_object(simdjson::dom::parser& parser, std::string_view text,
                            const std::string& path) {
  Object object;
  const auto parsed = parser.parse(text.data(), text.size());
  if (parsed.error() != simdjson::SUCCESS)
    return broken(path, std::format("broken JSON ({})", simdjson::error_message(parsed.error())));
  if (parsed.get(object) != simdjson::SUCCESS) return broken(path, "no JSON object");
  return object;
}

/// Reads a document of --json. The writer sorts names, so the schema comes behind the samples: what
/// is wrong with those is told only if the schema is ours.
class DocumentReader {
 public:
  DocumentReader(const std::string& path, JsonStream stream, Detail detail)
      : path_(path), stream_(std::move(stream)), builder_(path, detail) {}

  Result<Record> read() {
    if (auto done = members(); !done) return std::unexpected(done.error());
    simdjson::dom::parser parser;
    const auto head = parse_object(parser, head_ + "}", path_);
    if (!head) return std::unexpected(head.error());
    if (auto done = builder_.head(*head); !done) return std::unexpected(done.error());
    if (!has_samples_) return broken(path_, "'samples' is missing");
    if (!has_cells_) cells();
    for (const std::string& text : early_) keep(builder_.sample(simdjson::padded_string(text)));
    if (problem_) return std::unexpected(*problem_);
    return builder_.finish();
  }

 private:
  Result<> members() {
    if (stream_.peek() == '[') return broken(path_, "no JSON object");
    if (!stream_.take('{')) return cut("an object expected");
    bool more = stream_.peek() != '}';
    while (more) {
      const std::string name(stream_.value());
      if (name.empty() || !stream_.take(':')) return cut("a name and a colon expected");
      if (name == "\"samples\"") {
        if (auto done = samples(); !done) return done;
      } else {
        const std::string_view value = stream_.value();
        if (value.empty()) return cut(name + " has no end");
        head_ += (head_.size() > 1 ? "," : "") + name + ":";
        head_ += value;
        has_cells_name_ |= name == "\"cells\"";
      }
      more = stream_.take(',');
    }
    if (!stream_.take('}') || stream_.peek() != 0) return cut("the end of the object expected");
    return {};
  }

  Result<> samples() {
    has_samples_ = true;
    if (has_cells_name_) cells();
    if (!stream_.take('[')) return broken(path_, "'samples' is no list");
    bool more = stream_.peek() != ']';
    while (more) {
      const std::string_view text = stream_.value();
      if (text.empty()) return cut("a sample has no end");
      if (!has_cells_)
        early_.emplace_back(text);
      else if (!problem_)
        keep(builder_.sample(text));
      more = stream_.take(',');
    }
    return stream_.take(']') ? Result<>() : cut("the end of 'samples' expected");
  }

  void cells() {
    has_cells_ = true;
    simdjson::dom::parser parser;
    const auto head = parse_object(parser, head_ + "}", path_);
    if (head)
      keep(builder_.cells(*head));
    else
      problem_ = head.error();
  }

  void keep(const Result<>& done) {
    if (!done && !problem_) problem_ = done.error();
  }

  Result<> cut(const std::string& why) const {
    if (stream_.errnum() != 0)
      return std::unexpected(
          failed("read", path_, stream_.errnum()).error().with_exit(ExitCode::usage));
    return broken(path_, std::format("broken JSON ({})", why));
  }

  const std::string& path_;
  JsonStream stream_;
  Builder builder_;
  std::string head_ = "{";  ///< all members but the samples
  bool has_cells_name_ = false;
  bool has_cells_ = false;  ///< the builder knows them
  bool has_samples_ = false;
  std::vector<std::string> early_;  ///< samples that stand before the cells
  std::optional<Error> problem_;
};

Result<Record> read_document(const std::string& path, Detail detail) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return bad_input(path + " is a folder without run.json", "name a record of 'ublkbench run'");
  auto stream = JsonStream::open(path);
  if (!stream) return std::unexpected(stream.error());
  return DocumentReader(path, std::move(*stream), detail).read();
}

/// A folder's samples are lines of their own; a last line without its end was cut off.
Result<Record> read_folder(const std::string& folder, Detail detail) {
  const std::string head_path = folder + "/run.json";
  const std::string lines_path = folder + "/samples.jsonl";
  auto head = JsonStream::open(head_path);
  if (!head) return std::unexpected(head.error());
  auto lines = JsonStream::open(lines_path);
  if (!lines) return std::unexpected(lines.error());
  Builder builder(folder, detail);
  {
    simdjson::dom::parser parser;
    const auto document = parse_object(parser, head->value(), head_path);
    if (!document) return std::unexpected(document.error());
    if (auto done = builder.head(*document); !done) return std::unexpected(done.error());
    if (auto done = builder.cells(*document); !done) return std::unexpected(done.error());
  }
  bool ended = false;
  while (!lines->at_end()) {
    const std::string_view line = lines->line(ended);
    if (!ended)
      return bad_input(lines_path + ": the last line is cut off",
                       "go on with it: --out DIR --resume");
    if (auto added = builder.sample(line); !added) return std::unexpected(added.error());
  }
  return builder.finish();
}

void flatten(const json& value, const std::string& name, json& flat) {
  if (!value.is_object()) {
    flat[name] = value;
    return;
  }
  for (const auto& [key, below] : value.items())
    flatten(below, name.empty() ? key : name + "." + key, flat);
}

}  // namespace

std::vector<double> CellRecord::values(Figure figure) const {
  std::vector<double> values;
  values.reserve(samples.size());
  for (const Sample& sample : samples)
    if (const auto value = sample.figures.get(figure)) values.push_back(*value);
  return values;
}

bool Record::counts_instructions() const {
  return run.value("clock", std::string()).starts_with("icount");
}

std::string Record::commit() const { return run["tool"].value("commit", std::string("unknown")); }

json Record::comparable_fields() const {
  json flat = json::object();
  flatten(env["key_fields"], "env", flat);
  for (const char* field : {"queues", "daemons", "jobs", "ios", "runtime_ns", "rate_iops", "loop",
                            "latency_recorded", "clock"})
    if (run.contains(field)) flat[std::string("work.") + field] = run[field];
  if (run.contains("work")) flatten(run["work"], "work", flat);
  return flat;
}

Result<Record> read_record(const std::string& path, Detail detail) {
  std::error_code error;
  return std::filesystem::exists(path + "/run.json", error) ? read_folder(path, detail)
                                                            : read_document(path, detail);
}

Result<Record> read_record_text(const std::string& text, const std::string& name, Detail detail) {
  return DocumentReader(name, JsonStream::of(text), detail).read();
}

}  // namespace ublkbench::analyzers
