// SPDX-License-Identifier: MIT
// The record of a run: written after every sample, so that nothing measured is lost.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "analyzers/record_builder.hpp"
#include "bench/base/atomic_file.hpp"
#include "bench/base/result.hpp"
#include "bench/record/environment.hpp"
#include "bench/record/run_record.hpp"
#include "bench/record/sample_record.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

struct StoreOptions {
  std::string json_path;  ///< --json: one document, replaced as a whole; "-" is stdout at the end
  std::string folder;     ///< --out: run.json and samples.jsonl
  bool resume = false;
};

class Store {
 public:
  /// Owns the files until the end: a second run that would write them is refused by name. Writes
  /// the empty record first, so that an output that cannot be written fails before anything is
  /// measured. With `resume`, takes over the samples of an earlier run of the same work on the same
  /// machine; of a different one every difference is named.
  static Result<Store> open(const StoreOptions& options, RunRecord run, const Environment& env,
                            const Plan& plan);

  Result<> add(const SampleRecord& sample);

  /// Whether an earlier run left a good sample of this cell and round.
  [[nodiscard]] bool has(const std::string& cell, std::size_t round) const {
    return done_.contains({cell, round});
  }
  [[nodiscard]] std::size_t resumed() const { return resumed_; }

  /// {"cells", "env", "run", "samples", "schema": "ublkbench.run/1"}, a line a sample.
  [[nodiscard]] std::string document() const;
  /// What was measured, brought together by cell.
  [[nodiscard]] Result<analyzers::Record> results() const;

 private:
  Result<> own_files();
  Result<> take_over();
  Result<> adopt(const std::string& earlier, std::vector<std::string> samples,
                 const std::string& from);
  /// The record without its samples, as JSON: a member a line.
  [[nodiscard]] std::string head() const;
  void keep(const SampleRecord& sample, std::string text);
  Result<> write_all();

  StoreOptions options_;
  ExclusiveUse folder_;
  std::optional<OwnedFile> json_;
  RunRecord run_ = {};
  std::string env_;                   ///< JSON
  std::vector<std::string> cells_;    ///< JSON
  std::vector<std::string> samples_;  ///< as text
  std::optional<analyzers::RecordBuilder> results_;
  Result<>
      understood_;  ///< what results_ could not make of a sample: the record has it all the same
  std::set<std::pair<std::string, std::size_t>> done_;
  std::size_t resumed_ = 0;
};

}  // namespace ublkbench
