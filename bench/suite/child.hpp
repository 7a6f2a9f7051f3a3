// SPDX-License-Identifier: MIT
// Work in a process of its own, with a bound: a load that gets stuck in the kernel must not take
// the run with it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>

#include "bench/base/result.hpp"

namespace ublkbench {

/// Set by SIGINT, SIGTERM and SIGHUP.
bool interrupted();
/// Installs the handlers; the signals end waits, not the process.
void handle_interrupts();

/// Runs `work` in a forked child and returns the JSON it returns. The child is told to stop
/// (SIGTERM; `stop` flips for work() to see) when this process is interrupted, and is killed when
/// it does not answer within `timeout_ns`, which is an ExitCode::hang error.
Result<nlohmann::json> run_in_child(
    const std::function<Result<nlohmann::json>(const std::atomic<bool>& stop)>& work,
    std::uint64_t timeout_ns);

}  // namespace ublkbench
