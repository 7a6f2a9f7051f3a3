// SPDX-License-Identifier: MIT
// Takes a device from its server in order: what the server has in hand it finishes, what comes
// after that waits for the next server.
#pragma once

#include <cstdint>

#include "bench/base/result.hpp"

namespace ublkbench::control {

struct Quiesced {
  unsigned rounds = 0;  ///< QUIESCE_DEV commands that it took
  std::uint64_t took_ns = 0;
};

/// Under the device's lock, or a server that takes over loses its io commands. Returns when the
/// server is gone and the device waits for another one. On a timeout the device's
/// I/O waits, but for its old server; the error says what can be done.
Result<Quiesced> quiesce(int id, std::uint64_t timeout_ns);

}  // namespace ublkbench::control
