// SPDX-License-Identifier: MIT
#include "analyzers/record_builder.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "analyzers/queue_settings.hpp"
#include "bench/base/format.hpp"
#include "bench/record/read_fields.hpp"

namespace ublkbench::analyzers {
namespace {

using Element = simdjson::dom::element;
using Object = JsonReader::Object;

constexpr std::string_view schema = "ublkbench.run/1";

/// A failure stands, whatever other samples say.
void add_verification(const SampleRecord& sample, CellRecord& cell) {
  if (cell.verified == "FAILED") return;
  if (sample.verify) {
    if (sample.verify->status == Verification::Status::failed)
      cell.verified = "FAILED";
    else if (sample.verify->checked)
      cell.verified = name_of(*sample.verify->checked);
  } else if (cell.verified.empty() && sample.not_verified && *sample.not_verified != "off") {
    cell.verified = formatted("not ({})", *sample.not_verified);
  }
}

void add_data(const SampleRecord& sample, DataFacts& facts) {
  if (const auto& data = sample.data) {
    if (data->bytes > 0)
      facts.least_written = std::min(facts.least_written, static_cast<double>(data->written_bytes) /
                                                              static_cast<double>(data->bytes));
    facts.in_memory |= data->in_memory;
  }
  if (sample.page_cache) {
    facts.buffered = true;
    facts.found_warm |= sample.page_cache->start != PageCacheUse::Start::empty;
  }
}

}  // namespace

struct RecordBuilder::State {
  Record record;
  Detail detail;
  std::optional<Error> error;
  std::unordered_map<std::string, std::size_t> index;
  std::vector<std::unordered_set<std::uint64_t>> seen;  ///< rounds of each cell
  /// How each cell's queues were set, as text: nearly all samples have the same.
  std::vector<std::unordered_set<std::string>> queues;
  simdjson::dom::parser parser;
  std::size_t next = 0;

  Result<> done() const { return error ? Result<>(std::unexpected(*error)) : Result<>(); }

  void add_cell(JsonReader& at, const Object& cell) {
    CellRecord added;
    added.id = at.string(cell, "id");
    added.axes = read_axes(at, cell);
    if (!index.emplace(added.id, record.cells.size()).second)
      at.complain("id", formatted("'{}' is there twice", added.id));
    record.cells.push_back(std::move(added));
    seen.emplace_back();
    queues.emplace_back();
  }

  void add(JsonReader& at, const SampleRecord& of) {
    const auto found = index.find(of.cell);
    if (found == index.end()) return at.complain("cell", formatted("'{}' is no cell", of.cell));
    if (!seen[found->second].insert(of.round).second)
      return at.complain("round", formatted("{} of '{}' is there twice", of.round, of.cell));
    CellRecord& cell = record.cells[found->second];
    add_verification(of, cell);
    if (of.status == SampleStatus::interrupted) return;  // the user's wish, no failure of the cell
    if (of.status == SampleStatus::failed) {
      if (!of.reason) return at.complain("reason", "is missing");
      ++cell.failed;
      cell.reason = *of.reason;
      return;
    }
    if (!of.load) return at.complain("load", "is missing");
    if (!of.per_io) return at.complain("per_io", "is missing");
    if (of.load->measured_ios == 0 || of.load->window_ns == 0) {
      ++cell.failed;
      cell.reason = "no I/O was measured";
      return;
    }
    add_figures(of, cell);
    add_queue(of, found->second);
    add_data(of, cell.data);
    if (detail == Detail::evidence) add_evidence(of, cell);
  }

  static void add_figures(const SampleRecord& of, CellRecord& cell) {
    SampleFigures sample{.round = of.round, .order = of.order, .elapsed_ns = of.elapsed_ns};
    if (const auto& latency = of.load->latency_ns) {
      sample.latencies = latency->count != 0 ? latency->count : of.load->measured_ios;
      cell.fewest_latencies =
          std::min(sample.latencies, cell.fewest_latencies.value_or(sample.latencies));
    }
    for (std::size_t which = 0; which < figure_count; ++which)
      if (const auto value = figure_traits[which].of(of))
        sample.figures.set(static_cast<Figure>(which), *value);
    cell.samples.push_back(sample);
  }

  void add_queue(const SampleRecord& of, std::size_t number) {
    if (!of.device || of.device->queue_limits.empty()) return;
    const std::string& text = of.device->queue_limits.text;
    if (!queues[number].insert(text).second) return;
    CellRecord& cell = record.cells[number];
    Facts settings = deciding_settings(text);
    if (!cell.queue)
      cell.queue = std::move(settings);
    else if (settings != *cell.queue)
      cell.other_queues.push_back(std::move(settings));
  }

  static void add_evidence(const SampleRecord& of, CellRecord& cell) {
    cell.evidence.push_back(evidence_of(of));
    if (!of.probe) return;
    cell.probe_text = of.probe->text.value_or(cell.probe_text);
    cell.probe_brief = of.probe->brief.value_or(cell.probe_text);
    cell.probed_in_window = cell.evidence.back().probed_in_window;
  }
};

std::unexpected<Error> broken_record(const std::string& path, std::string_view why) {
  return bad_input(formatted("{}: {}", path, why),
                   "the file is damaged, cut off, or no record of 'ublkbench run'");
}

RecordBuilder::RecordBuilder(const std::string& path, Detail detail)
    : state_(std::make_unique<State>()) {
  state_->record.path = path;
  state_->detail = detail;
}

RecordBuilder::RecordBuilder(RecordBuilder&& other) noexcept = default;
RecordBuilder& RecordBuilder::operator=(RecordBuilder&& other) noexcept = default;
RecordBuilder::~RecordBuilder() = default;

Result<> RecordBuilder::head(const Object& document) {
  Record& record = state_->record;
  JsonReader reader(record.path, "", state_->error);
  const std::string found = reader.string(document, "schema");
  if (!state_->error && found != schema)
    return bad_input(formatted("{}: its schema is '{}'", record.path, found),
                     formatted("this program reads '{}'", schema));
  const Object run = reader.object(document, "run");
  const Object env = reader.object(document, "env");
  reader.inside("env").object(env, "key_fields");
  const Object tool = reader.inside("run").object(run, "tool");
  reader.inside("run").inside("tool").string(tool, "commit");
  reader.inside("run").string(run, "clock");
  if (state_->error) return state_->done();
  record.run = facts_of(std::string(simdjson::minify(run)));
  record.env = facts_of(std::string(simdjson::minify(env)));
  return {};
}

Result<> RecordBuilder::cells(const Object& document) {
  Record& record = state_->record;
  JsonReader reader(record.path, "", state_->error);
  simdjson::dom::array list;
  const auto element = reader.find(document, "cells");
  if (!element || element->get(list) != simdjson::SUCCESS)
    return broken_record(record.path, "'cells' is missing");
  for (const Element& entry : list) {
    JsonReader at = reader.inside(formatted("cells[{}]", record.cells.size()));
    Object cell;
    if (entry.get(cell) != simdjson::SUCCESS)
      return broken_record(record.path, "a cell is no object");
    state_->add_cell(at, cell);
    if (state_->error) return state_->done();
  }
  return {};
}

Result<> RecordBuilder::begin(const std::string& document) {
  simdjson::dom::parser parser;
  Object object;
  if (parser.parse(document).get(object) != simdjson::SUCCESS)
    return broken_record(state_->record.path, "no JSON object");
  if (auto done = head(object); !done) return done;
  return cells(object);
}

Result<> RecordBuilder::sample(std::string_view text) {
  State& state = *state_;
  const auto parsed = state.parser.parse(text.data(), text.size(), false);
  if (parsed.error() != simdjson::SUCCESS)
    return broken_record(state.record.path, formatted("broken JSON in samples[{}] ({})", state.next,
                                                      simdjson::error_message(parsed.error())));
  JsonReader at(state.record.path, formatted("samples[{}]", state.next++), state.error);
  Object object;
  SampleRecord sample;
  if (parsed.get(object) != simdjson::SUCCESS)
    at.complain("", "is no object");
  else
    read_fields(at, object, sample);
  if (!state.error) state.add(at, sample);
  return state.done();
}

Result<> RecordBuilder::add(const SampleRecord& sample) {
  JsonReader at(state_->record.path, formatted("samples[{}]", state_->next++), state_->error);
  state_->add(at, sample);
  return state_->done();
}

Record RecordBuilder::record() const {
  Record record = state_->record;
  // The run's own members may stand behind the cells.
  if (const auto ios = fact_number(record.run, "ios"))
    for (CellRecord& cell : record.cells) cell.ios = static_cast<std::uint64_t>(*ios);
  return record;
}

}  // namespace ublkbench::analyzers
