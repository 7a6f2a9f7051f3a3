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

Result<json> read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) return failed("open", path, errno);
  json document = json::parse(file, nullptr, false);
  if (!is_run(document))
    return bad_input(formatted("{} is not a record of a run", path), "give another file");
  return document;
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

Facts identity_of(const json& head) {
  return identity_of_one_run(facts_of(json_text(head["run"])), facts_of(json_text(head["env"])));
}

/// More rounds are what resuming is for; fewer would leave samples that belong to none.
void add_rounds(const json& earlier, const json& asked, std::vector<FieldDifference>& found) {
  const json before = earlier.value("repeat", json());
  const json now = asked.value("repeat", json());
  if (before.is_number() && now < before)
    found.push_back({"repeat", json_text(before), json_text(now)});
}

}  // namespace

Result<Store> Store::open(const StoreOptions& options, json run, json env, const Plan& plan) {
  Store store;
  store.options_ = options;
  json cells = json::array();
  for (const Cell& cell : plan.cells) cells.push_back(cell.to_json());
  store.head_ = {{"schema", schema},
                 {"run", std::move(run)},
                 {"env", std::move(env)},
                 {"cells", std::move(cells)}};
  if (auto owned = store.own_files(); !owned)
    return std::unexpected(owned.error().with_exit(ExitCode::usage));
  store.results_.emplace("this run", analyzers::Detail::evidence);
  if (auto begun = store.results_->begin(json_text(store.head_)); !begun)
    return std::unexpected(begun.error());
  if (options.resume)
    if (auto taken = store.take_over(); !taken) return std::unexpected(taken.error());
  if (!options.folder.empty()) {
    if (auto written =
            write_file_atomically(run_path(options.folder), json_text(store.head_, 2) + '\n');
        !written)
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
    auto earlier = read_json(run_path(options_.folder));
    if (!earlier) return std::unexpected(earlier.error());
    std::vector<std::string> samples;
    std::ifstream lines(samples_path(options_.folder));
    for (std::string line; std::getline(lines, line);) samples.push_back(std::move(line));
    return adopt(*earlier, std::move(samples), options_.folder);
  }
  if (options_.json_path.empty() || options_.json_path == "-")
    return bad_input("--resume without a record", "give --out DIR or --json FILE");
  if (!std::filesystem::exists(options_.json_path)) return {};
  auto earlier = read_json(options_.json_path);
  if (!earlier) return std::unexpected(earlier.error());
  std::vector<std::string> samples;
  for (const json& sample : earlier->value("samples", json::array()))
    samples.push_back(json_text(sample));
  return adopt(*earlier, std::move(samples), options_.json_path);
}

Result<> Store::adopt(const json& earlier, std::vector<std::string> samples,
                      const std::string& from) {
  std::vector<FieldDifference> found = differences(identity_of(earlier), identity_of(head_));
  add_rounds(earlier["run"], head_["run"], found);
  std::ranges::copy(other_cells(earlier["cells"], head_["cells"]), std::back_inserter(found));
  if (!found.empty())
    return bad_input(
        formatted("{} cannot be resumed: {} thing(s) differ, and samples of unlike "
                  "runs must not be mixed; give what it has, or write elsewhere{}",
                  from, found.size(), as_lines(found)));
  // Where the rounds came from: the seed that shuffled them, and the instant that names the run.
  if (const json id = earlier["run"].value("id", json()); id.is_string()) head_["run"]["id"] = id;
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

std::string Store::document() const {
  std::string text = "{";
  for (const auto& [name, value] : head_.items())
    if (name != "schema") text += formatted("\n\"{}\": {},", name, json_text(value));
  text += "\n\"samples\": [";
  for (const std::string& sample : samples_)
    text += (&sample == samples_.data() ? "\n" : ",\n") + sample;
  return text + formatted("\n],\n\"schema\": \"{}\"\n}}\n", schema);
}

Result<> Store::write_all() { return json_ ? json_->write(document()) : Result<>{}; }

}  // namespace ublkbench
