// SPDX-License-Identifier: MIT
// The life of the process that stays with a server: in front of a terminal or behind.
#pragma once

#include <functional>
#include <string>

#include "bench/server/server.hpp"

namespace ublkbench {

struct ServingJob {
  std::function<Result<Server>()> start;
  /// What to print once the device is served.
  std::function<std::string(const Server&)> describe;
  bool keep = false;         ///< leave the device there when its server ended
  bool adds_device = false;  ///< nobody uses it yet: it goes away if nobody is told of it
};

/// Serves until a signal or the end of the server process; returns the program's exit code.
int serve_in_front(const ServingJob& job);

/// Serves from a process of its own session; returns once the device is up or has failed to be.
int serve_in_background(const ServingJob& job);

}  // namespace ublkbench
