// SPDX-License-Identifier: MIT
// `ublkbench modes`: every word and combination, granted or not by this kernel, and why.
#pragma once

namespace ublkbench {

/// Prints the table; `all` lists every combination as a row. Returns the exit code.
int run_modes(bool all, bool json);

}  // namespace ublkbench
