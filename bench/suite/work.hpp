// SPDX-License-Identifier: MIT
// What a run does, as its record has it: the one list of what decides the work.
#pragma once

#include <nlohmann/json.hpp>

#include "bench/suite/plan.hpp"

namespace ublkbench {

/// The members of a record's "run" that say what is done: "queues", "jobs", "ios"... and "work".
/// What bench/record/identity.hpp compares, besides the machine.
nlohmann::json describe_work(const RunOptions& options);

}  // namespace ublkbench
