// SPDX-License-Identifier: MIT
#include "bench/suite/store.hpp"

#include <filesystem>
#include <format>
#include <fstream>

#include "bench/base/atomic_file.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

Result<json> read_json(const std::string& path) {
  std::ifstream file(path);
  if (!file) return failed("open", path, errno);
  json document = json::parse(file, nullptr, false);
  if (document.is_discarded() || !document.is_object())
    return bad_input(std::format("{} is not a record of a run", path), "give another file");
  return document;
}

std::string run_path(const std::string& folder) { return folder + "/run.json"; }
std::string samples_path(const std::string& folder) { return folder + "/samples.jsonl"; }

/// Names the first field in which two environments differ; empty when they are alike.
std::string difference(const json& ours, const json& theirs) {
  for (const auto& [key, value] : ours.items())
    if (!theirs.contains(key) || theirs[key] != value)
      return std::format("{} was {}, is {}", key,
                         theirs.contains(key) ? theirs[key].dump() : "absent", value.dump());
  return {};
}

}  // namespace

Result<Store> Store::open(const StoreOptions& options, json run, json env, const Plan& plan) {
  Store store;
  store.options_ = options;
  json cells = json::array();
  for (const Cell& cell : plan.cells) cells.push_back(cell.to_json());
  store.document_ = {{"schema", "ublkbench.run/1"},
                     {"run", std::move(run)},
                     {"env", std::move(env)},
                     {"cells", std::move(cells)},
                     {"samples", json::array()}};
  if (options.resume)
    if (auto taken = store.take_over(); !taken) return std::unexpected(taken.error());
  if (!options.folder.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options.folder, error);
    if (error)
      return std::unexpected(
          failed("mkdir", options.folder, error.value()).error().with_exit(ExitCode::usage));
    json head = store.document_;
    head.erase("samples");
    if (auto written = write_file_atomically(run_path(options.folder), head.dump(2) + '\n');
        !written)
      return std::unexpected(written.error().with_exit(ExitCode::usage));
    std::string lines;
    for (const json& sample : store.document_["samples"]) lines += sample.dump() + '\n';
    if (auto written = write_file_atomically(samples_path(options.folder), lines); !written)
      return std::unexpected(written.error().with_exit(ExitCode::usage));
  }
  if (auto written = store.write_all(); !written)
    return std::unexpected(written.error().with_exit(ExitCode::usage));
  return store;
}

Result<> Store::take_over() {
  if (!options_.folder.empty()) {
    if (!std::filesystem::exists(run_path(options_.folder))) return {};
    auto earlier = read_json(run_path(options_.folder));
    if (!earlier) return std::unexpected(earlier.error());
    (*earlier)["samples"] = json::array();
    std::ifstream lines(samples_path(options_.folder));
    for (std::string line; std::getline(lines, line);) {
      json sample = json::parse(line, nullptr, false);  // a torn last line is no sample
      if (!sample.is_discarded()) (*earlier)["samples"].push_back(std::move(sample));
    }
    return adopt(*earlier, options_.folder);
  }
  if (options_.json_path.empty() || options_.json_path == "-")
    return bad_input("--resume without a record", "give --out DIR or --json FILE");
  if (!std::filesystem::exists(options_.json_path)) return {};
  auto earlier = read_json(options_.json_path);
  if (!earlier) return std::unexpected(earlier.error());
  return adopt(*earlier, options_.json_path);
}

Result<> Store::adopt(const json& earlier, const std::string& from) {
  if (earlier.value("cells", json()) != document_["cells"])
    return bad_input(std::format("{} is the record of another matrix", from),
                     "resume with the same options, or write elsewhere");
  if (const std::string field =
          difference(document_["run"].value("tool", json::object()),
                     earlier.value("run", json::object()).value("tool", json::object()));
      !field.empty())
    return bad_input(std::format("{} was measured with other programs: {}", from, field),
                     "write elsewhere");
  const json ours = document_["env"].value("key_fields", json::object());
  const json theirs = earlier.value("env", json::object()).value("key_fields", json::object());
  if (const std::string field = difference(ours, theirs); !field.empty())
    return bad_input(std::format("{} was measured elsewhere: {}", from, field),
                     "samples of different environments must not be mixed");
  // Where the rounds came from: the seed that shuffled them, and the instant that names the run.
  document_["run"]["id"] = earlier["run"].value("id", document_["run"].value("id", ""));
  for (const json& sample : earlier.value("samples", json::array())) {
    if (sample.value("status", "") != "ok") continue;  // a failed or interrupted one is repeated
    done_.insert({sample.value("cell", ""), sample.value("round", std::size_t{0})});
    document_["samples"].push_back(sample);
    ++resumed_;
  }
  return {};
}

Result<> Store::add(json sample) {
  if (!options_.folder.empty())
    if (auto appended = append_line(samples_path(options_.folder), sample.dump()); !appended)
      return appended;
  document_["samples"].push_back(std::move(sample));
  return write_all();
}

Result<> Store::write_all() {
  if (options_.json_path.empty() || options_.json_path == "-") return {};
  return write_file_atomically(options_.json_path, document_.dump(1) + '\n');
}

}  // namespace ublkbench
