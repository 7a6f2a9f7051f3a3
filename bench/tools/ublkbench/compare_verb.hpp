// SPDX-License-Identifier: MIT
// Command line of `ublkbench compare`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace ublkbench {

class CompareVerb {
 public:
  void add_options(CLI::App& app);
  /// Prints the table; returns the exit code.
  [[nodiscard]] int run() const;

 private:
  std::vector<std::string> records_;
  std::string figure_;
  std::string columns_;
  std::string rows_;
  std::string filter_;
  std::vector<std::string> vary_;
  std::string threshold_;
  std::string format_ = "text";
  bool anyway_ = false;
};

}  // namespace ublkbench
