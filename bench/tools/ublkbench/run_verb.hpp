// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/tools/ublkbench/run_cli.hpp"

namespace ublkbench {

/// What is made of the samples in the end; returns an exit code.
using Show = std::function<int(const RunRequest& request, const Store& store)>;

/// The table of `run`, or what --format asks for.
int print_results(const RunRequest& request, const Store& store);

/// The main job: measures the matrix and shows it. Returns the exit code: the run's unless that is
/// 0.
int run_matrix(RunRequest request, const std::vector<std::string>& argv,
               const Show& show = print_results);

}  // namespace ublkbench
