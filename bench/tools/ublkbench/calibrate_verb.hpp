// SPDX-License-Identifier: MIT
// ublkbench calibrate: measures the same thing many times, and says what this machine can resolve.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "bench/tools/ublkbench/run_cli.hpp"

namespace ublkbench {

class CalibrateVerb {
 public:
  void add_options(CLI::App& app);
  [[nodiscard]] int run(const std::vector<std::string>& argv) const;

 private:
  [[nodiscard]] Result<> check_words_of_judging() const;
  [[nodiscard]] int judge(const std::string& record, bool as_json) const;

  const CLI::App* app_ = nullptr;  ///< knows what was typed
  RunCli cli_;
  std::string record_;
  std::string figure_;
};

}  // namespace ublkbench
