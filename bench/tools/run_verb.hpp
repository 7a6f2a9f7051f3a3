// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "bench/tools/run_cli.hpp"

namespace ublkbench {

/// The main job: measures the matrix and prints its table. Returns the exit code.
int run_matrix(RunRequest request, const std::vector<std::string>& argv);

}  // namespace ublkbench
