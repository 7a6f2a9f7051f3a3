// SPDX-License-Identifier: MIT
// ublkbench trend: a history of runs, and where figures changed in it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace ublkbench {

class TrendVerb {
 public:
  void add_options(CLI::App& app);
  [[nodiscard]] int run() const;

 private:
  [[nodiscard]] int add() const;
  [[nodiscard]] int show() const;

  const CLI::App* add_ = nullptr;
  std::string history_;
  std::vector<std::string> records_;
  std::string figure_;
  std::string filter_;
  std::string threshold_;
  std::vector<std::string> vary_;
  std::string format_ = "text";
};

}  // namespace ublkbench
