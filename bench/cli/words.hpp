// SPDX-License-Identifier: MIT
// Words of a command line that would do nothing: they are refused, because whoever typed them
// believes that they did something.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench {

/// Whether the option was typed.
bool typed(const CLI::App& app, const std::string& option);

/// Refuses options that were typed with an empty value.
Result<> refuse_empty(const CLI::App& app);

struct Idle {
  std::string option;  ///< "--fetches"
  bool idle = false;   ///< it does nothing with the other words
  std::string why;     ///< "no --mode has the word batch"
};

/// Refuses the first that was typed and is idle; its reason is said.
Result<> refuse_idle(const CLI::App& app, const std::vector<Idle>& rows);

/// A row for each option that does nothing for one and the same reason.
std::vector<Idle> all_idle(const std::vector<std::string>& options, bool idle,
                           const std::string& why);

}  // namespace ublkbench
