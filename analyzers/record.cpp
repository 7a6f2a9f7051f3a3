// SPDX-License-Identifier: MIT
#include "analyzers/record.hpp"

#include <filesystem>
#include <utility>

#include "analyzers/json_stream.hpp"
#include "analyzers/record_builder.hpp"
#include "bench/base/format.hpp"

namespace ublkbench::analyzers {
namespace {

using Object = simdjson::dom::object;

void read(JsonReader& at, const Object& object, std::string_view key, std::string& into) {
  into = at.string(object, key);
}
void read(JsonReader& at, const Object& object, std::string_view key, std::uint64_t& into) {
  into = at.count(object, key);
}

Result<Object> parse_object(simdjson::dom::parser& parser, std::string_view text,
                            const std::string& path) {
  Object object;
  const auto parsed = parser.parse(text.data(), text.size());
  if (parsed.error() != simdjson::SUCCESS)
    return broken_record(path,
                         formatted("broken JSON ({})", simdjson::error_message(parsed.error())));
  if (parsed.get(object) != simdjson::SUCCESS) return broken_record(path, "no JSON object");
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
    if (!has_samples_) return broken_record(path_, "'samples' is missing");
    if (!has_cells_) cells();
    for (const std::string& text : early_) keep(builder_.sample(simdjson::padded_string(text)));
    if (problem_) return std::unexpected(*problem_);
    return builder_.record();
  }

 private:
  Result<> members() {
    if (stream_.peek() == '[') return broken_record(path_, "no JSON object");
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
    if (!stream_.take('[')) return broken_record(path_, "'samples' is no list");
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
    return broken_record(path_, formatted("broken JSON ({})", why));
  }

  const std::string& path_;
  JsonStream stream_;
  RecordBuilder builder_;
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
  RecordBuilder builder(folder, detail);
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
  return builder.record();
}

}  // namespace

Axes read_axes(JsonReader& at, const Object& cell) {
  Axes axes;
  for (const Axis& axis : all_axes()) {
    if (axis.key == "mode" || (axis.may_be_none && !at.find(cell, axis.key))) continue;
    std::visit([&](auto member) { read(at, cell, axis.key, axes.*member); }, axis.field);
  }
  axes.mode = at.find(cell, "mode") ? at.string(cell, "mode") : "(" + axes.target + ")";
  return axes;
}

Result<Record> read_record(const std::string& path, Detail detail) {
  std::error_code error;
  return std::filesystem::exists(path + "/run.json", error) ? read_folder(path, detail)
                                                            : read_document(path, detail);
}

}  // namespace ublkbench::analyzers
