// SPDX-License-Identifier: MIT
// `ublkbench gate --self-test`: on this machine, now, can the gate pass, and can it fail?
#pragma once

namespace ublkbench {

/// Measures one cell, the same again (must pass), and the same with a delay in the server (must be
/// called a regression). Under icount it is the path-length gate that is tried, with damaged
/// records for its other exit codes; elsewhere the hardware gate. Returns the exit code: 0 as it
/// should be, 1 the gate is broken, 3 this machine is unfit for it.
int run_gate_self_test();

}  // namespace ublkbench
