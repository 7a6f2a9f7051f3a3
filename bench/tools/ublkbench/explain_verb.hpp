// SPDX-License-Identifier: MIT
// ublkbench explain: what keeps each cell of a run from being faster.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "analyzers/record.hpp"

namespace ublkbench {

class ExplainVerb {
 public:
  void add_options(CLI::App& app);
  /// Prints the verdicts; returns the exit code.
  [[nodiscard]] int run() const;

 private:
  std::string record_;
  std::string filter_;
  bool json_ = false;
};

/// The verdicts of the cells of a run that had probes attached, for the end of its table.
std::string explain_probed(analyzers::Record record);

}  // namespace ublkbench
