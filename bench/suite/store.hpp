// SPDX-License-Identifier: MIT
// The record of a run: written after every sample, so that nothing measured is lost.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "bench/base/result.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

struct StoreOptions {
  std::string json_path;  ///< --json: one document, replaced as a whole; "-" is stdout at the end
  std::string folder;     ///< --out: run.json and samples.jsonl
  bool resume = false;
};

class Store {
 public:
  /// Writes the empty record first, so that an output that cannot be written fails before anything
  /// is measured. With `resume`, takes over the samples of an earlier run of the same plan on the
  /// same machine; a different one is refused field by field.
  static Result<Store> open(const StoreOptions& options, nlohmann::json run, nlohmann::json env,
                            const Plan& plan);

  Result<> add(nlohmann::json sample);

  /// Whether an earlier run left a good sample of this cell and round.
  [[nodiscard]] bool has(const std::string& cell, std::size_t round) const {
    return done_.contains({cell, round});
  }
  [[nodiscard]] std::size_t resumed() const { return resumed_; }

  /// {"schema": "ublkbench.run/1", "run", "env", "cells", "samples"}
  [[nodiscard]] const nlohmann::json& document() const { return document_; }

 private:
  Result<> take_over();
  Result<> adopt(const nlohmann::json& earlier, const std::string& from);
  Result<> write_all();

  StoreOptions options_;
  nlohmann::json document_;
  std::set<std::pair<std::string, std::size_t>> done_;
  std::size_t resumed_ = 0;
};

}  // namespace ublkbench
