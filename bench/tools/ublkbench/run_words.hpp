// SPDX-License-Identifier: MIT
// Which words of `ublkbench run` do nothing with which others.
#pragma once

#include <CLI/CLI.hpp>

#include "bench/base/result.hpp"
#include "bench/tools/ublkbench/run_cli.hpp"

namespace ublkbench {

/// Refuses what was typed and would be ignored.
Result<> check_run_words(const CLI::App& app, const RunRequest& request);

}  // namespace ublkbench
