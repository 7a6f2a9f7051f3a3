// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "bench/base/result.hpp"

namespace ublkbench {

/// Moves the daemons of a device that ublk-server serves, and their offload workers: 'queue',
/// 'free' or a CPU list, as for `add`.
Result<> set_affinity(int id, const std::string& cpus);

}  // namespace ublkbench
