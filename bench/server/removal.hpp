// SPDX-License-Identifier: MIT
// Removes a device on somebody's word: of ublk-server del, or of a run that cleans up.
#pragma once

#include <string>

#include "bench/base/result.hpp"

namespace ublkbench {

struct RemovalRequest {
  bool only_orphan = false;  ///< nothing happens unless control::judge() still says so
  bool async = false;        ///< do not wait until the number is free
  bool force = false;        ///< also if it is mounted, held or open
};

/// Refuses a device whose disk is in use, before anything happens to it. What came of it, for
/// people: "removed", or who keeps its number.
Result<std::string> remove_device(int id, const RemovalRequest& request);

}  // namespace ublkbench
