// SPDX-License-Identifier: MIT
// Command lines of `ublkbench gate` and `ublkbench baseline`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace ublkbench {

class GateVerb {
 public:
  void add_options(CLI::App& app);
  /// Prints the verdict; returns the exit code.
  [[nodiscard]] int run() const;

 private:
  std::vector<std::string> records_;
  std::string baseline_;
  std::string waivers_;
  std::string threshold_;
  std::vector<std::string> vary_;
  std::string format_ = "text";
  std::string json_path_;
  std::string inconclusive_ = "fail";
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
