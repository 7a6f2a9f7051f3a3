// SPDX-License-Identifier: MIT
#include "bench/suite/store.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

#include "bench/base/atomic_file.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/record/identity.hpp"
#include "bench/record/record_codec.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

constexpr const char* schema = "ublkbench.run/1";

bool is_run(const json& document) {
  return document.is_object() && document.value("schema", json()) == schema &&
         document.value("run", json()).is_object() && document.value("env", json()).is_object() &&
         document.value("cells", json()).is_array();
}

Result<json> run_of_text(const std::string& text, const std::string& path) {
  json document = json::parse(text, nullptr, false);
  if (!is_run(document))
    return bad_input(formatted("{} is not a record of a run", path), "give another file");
  return document;
}

Result<std::string> contents_of(const std::string& path) {
  std::ifstream file(path);
  if (!file) return failed("open", path, errno);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string run_path(const std::string& folder) { return folder + "/run.json"; }
std::string samples_path(const std::string& folder) { return folder + "/samples.jsonl"; }

std::string as_lines(const std::vector<FieldDifference>& differences) {
  std::string lines;
  for (const FieldDifference& difference : differences)
    lines += formatted(
        "\n  {}: record {}, asked {}",
        difference.field.starts_with("work.") ? difference.field.substr(5) : difference.field,
        difference.a, difference.b);
  return lines;
}

std::set<std::string> ids_of(const json& cells) {
  std::set<std::string> ids;
  for (const json& cell : cells)
    if (cell.is_object()) ids.insert(json_text(cell.value("id", json())));
  return ids;
}

/// A line for each cell that only one of two matrices has.
std::vector<FieldDifference> other_cells(const json& earlier, const json& asked) {
  std::vector<FieldDifference> found;
  const std::set<std::string> before = ids_of(earlier);
  const std::set<std::string> now = ids_of(asked);
  for (const std::string& id : before)
    if (!now.contains(id)) found.push_back({"cell " + id, "yes", "no"});
  for (const std::string& id : now)
    if (!before.contains(id)) found.push_back({"cell " + id, "no", "yes"});
  if (found.empty() && earlier != asked) found.push_back({"cells", "the same", "in another order"});
  return found;
}

/// More rounds are what resuming is for; fewer would leave samples that belong to none.
void add_rounds(const Facts& earlier, unsigned asked, std::vector<FieldDifference>& found) {
  if (const auto before = fact_number(earlier, "repeat"); before && asked < *before)
    found.push_back({"repeat", formatted("{}", *before), std::to_string(asked)});
}

}  // namespace

Result<Store> Store::open(const StoreOptions& options, RunRecord run, const Environment& env,
                          const Plan& plan) {
  Store store;
  store.options_ = options;
  store.run_ = std::move(run);
  store.env_ = record_text(env);
  for (const Cell& cell : plan.cells) store.cells_.push_back(cell.document());
  if (auto owned = store.own_files(); !owned)
    return std::unexpected(owned.error().with_exit(ExitCode::usage));
  store.results_.emplace("this run", analyzers::Detail::evidence);
  if (auto begun = store.results_->begin(store.head()); !begun)
    return std::unexpected(begun.error());
  if (options.resume)
    if (auto taken = store.take_over(); !taken) return std::unexpected(taken.error());
  if (!options.folder.empty()) {
    if (auto written = write_file_atomically(run_path(options.folder), store.head()); !written)
      return std::unexpected(written.error().with_exit(ExitCode::usage));
    std::string lines;
    for (const std::string& sample : store.samples_) lines += sample + '\n';
    if (auto written = write_file_atomically(samples_path(options.folder), lines); !written)
      return std::unexpected(written.error().with_exit(ExitCode::usage));
  }
  if (auto written = store.write_all(); !written)
    return std::unexpected(written.error().with_exit(ExitCode::usage));
  return store;
}

Result<> Store::own_files() {
  if (!options_.folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options_.folder, error);
    if (error) return failed("mkdir", options_.folder, error.value());
    auto use = ExclusiveUse::take(options_.folder);
    if (!use) return std::unexpected(use.error());
    folder_ = std::move(*use);
  }
  if (options_.json_path.empty() || options_.json_path == "-") return {};
  auto file = OwnedFile::open(options_.json_path);
  if (!file) return std::unexpected(file.error());
  json_.emplace(std::move(*file));
  return {};
}

Result<> Store::take_over() {
  if (!options_.folder.empty()) {
    if (!std::filesystem::exists(run_path(options_.folder))) return {};
    auto earlier = contents_of(run_path(options_.folder));
    if (!earlier) return std::unexpected(earlier.error());
    std::vector<std::string> samples;
    std::ifstream lines(samples_path(options_.folder));
    for (std::string line; std::getline(lines, line);) samples.push_back(std::move(line));
    return adopt(*earlier, std::move(samples), options_.folder);
  }
  if (options_.json_path.empty() || options_.json_path == "-")
    return bad_input("--resume without a record", "give --out DIR or --json FILE");
  if (!std::filesystem::exists(options_.json_path)) return {};
  auto earlier = contents_of(options_.json_path);
  if (!earlier) return std::unexpected(earlier.error());
  return adopt(*earlier, {}, options_.json_path);
}

/// `samples` of a folder; a document has its own.
Result<> Store::adopt(const std::string& earlier, std::vector<std::string> samples,
                      const std::string& from) {
  const auto document = run_of_text(earlier, from);
  if (!document) return std::unexpected(document.error());
  for (const json& sample : document->value("samples", json::array()))
    samples.push_back(json_text(sample));
  const Facts run = facts_of(json_text((*document)["run"]));
  std::vector<FieldDifference> found =
      differences(identity_of_one_run(run, facts_of(json_text((*document)["env"]))),
                  identity_of_one_run(facts_of(record_text(run_)), facts_of(env_)));
  add_rounds(run, run_.repeat, found);
  json asked = json::array();
  for (const std::string& cell : cells_) asked.push_back(json::parse(cell, nullptr, false));
  std::ranges::copy(other_cells((*document)["cells"], asked), std::back_inserter(found));
  if (!found.empty())
    return bad_input(
        formatted("{} cannot be resumed: {} thing(s) differ, and samples of unlike "
                  "runs must not be mixed; give what it has, or write elsewhere{}",
                  from, found.size(), as_lines(found)));
  // Where the rounds came from: the seed that shuffled them, and the instant that names the run.
  run_.id = fact_word(run, "id").value_or(run_.id);
  for (std::string& text : samples) {
    // A torn last line is no sample; one that failed or was interrupted is repeated.
    const auto sample = record_of_text<SampleRecord>(text, from);
    if (!sample || sample->status != SampleStatus::ok) continue;
    if (!done_.insert({sample->cell, sample->round}).second) continue;
    keep(*sample, std::move(text));
    ++resumed_;
  }
  return {};
}

Result<> Store::add(const SampleRecord& sample) {
  keep(sample, record_text(sample));
  if (!options_.folder.empty())
    if (auto appended = append_line(samples_path(options_.folder), samples_.back()); !appended)
      return appended;
  return write_all();
}

/// Measured is measured: what cannot be put into the table is still written.
void Store::keep(const SampleRecord& sample, std::string text) {
  samples_.push_back(std::move(text));
  if (auto added = results_->add(sample); !added && understood_) understood_ = std::move(added);
}

Result<analyzers::Record> Store::results() const {
  if (!understood_) return std::unexpected(understood_.error());
  return results_->record();
}

std::string Store::head() const {
  std::string cells;
  for (const std::string& cell : cells_) cells += (cells.empty() ? "\n" : ",\n") + cell;
  return formatted("{{\n\"cells\": [{}\n],\n\"env\": {},\n\"run\": {},\n\"schema\": \"{}\"\n}}\n",
                   cells, env_, record_text(run_), schema);
}

std::string Store::document() const {
  std::string samples;
  for (const std::string& sample : samples_) samples += (samples.empty() ? "\n" : ",\n") + sample;
  std::string text = head();
  text.insert(text.rfind("\"schema\""), formatted("\"samples\": [{}\n],\n", samples));
  return text;
}

Result<> Store::write_all() { return json_ ? json_->write(document()) : Result<>{}; }

}  // namespace ublkbench
