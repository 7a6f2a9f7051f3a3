// SPDX-License-Identifier: MIT
// What every main() of the suite does around its own work.
#pragma once

#include <functional>
#include <string_view>

namespace ublkbench {

/// Prepares the standard streams, refuses words that no record could hold, runs `run` and returns
/// its exit code. What could not be written to stdout is an error in the end, and an exception that
/// a library threw is one line and an exit code: objects are destroyed, so that no device stays.
int enter(std::string_view program, int argc, char** argv, const std::function<int()>& run);

}  // namespace ublkbench
