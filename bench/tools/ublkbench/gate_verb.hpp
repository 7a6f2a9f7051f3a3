// SPDX-License-Identifier: MIT
// Command lines of `ublkbench gate` and `ublkbench baseline`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "analyzers/gate_outcome.hpp"

namespace ublkbench {

class GateVerb {
 public:
  void add_options(CLI::App& app);
  /// Prints the verdict; returns the exit code.
  [[nodiscard]] int run() const;

 private:
  [[nodiscard]] Result<> check_options() const;
  [[nodiscard]] Result<analyzers::GateOptions> gate_options() const;
  [[nodiscard]] Result<analyzers::GateOutcome> judge_records() const;
  [[nodiscard]] Result<analyzers::GateOutcome> judge_programs() const;
  [[nodiscard]] Result<ExitCode> judge() const;

  std::vector<std::string> words_;
  std::string baseline_;
  std::string against_;
  std::string program_;
  unsigned pairs_ = 10;
  std::string sample_time_ = "1s";
  std::uint64_t seed_ = 1;
  std::string folder_;
  bool self_test_ = false;
  std::string waivers_;
  std::string threshold_;
  std::vector<std::string> vary_;
  std::string format_ = "text";
  std::string json_path_;
  std::string inconclusive_ = "fail";
  std::string moved_environment_ = "fail";
  bool bisect_ = false;
};

class BaselineVerb {
 public:
  void add_options(CLI::App& app);
  [[nodiscard]] int run() const;

 private:
  [[nodiscard]] int accept() const;
  [[nodiscard]] int show() const;

  CLI::App* accept_ = nullptr;
  CLI::App* show_ = nullptr;
  std::string path_;
  std::string reason_;
  std::vector<std::string> records_;
};

}  // namespace ublkbench
