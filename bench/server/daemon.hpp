// SPDX-License-Identifier: MIT
// The task that serves io commands: one ring, one loop, no branch on the mode.
#pragma once

#include <memory>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/server/counters.hpp"
#include "bench/server/io_slot.hpp"
#include "bench/server/mode.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

struct DaemonSetup {
  int char_device = -1;  ///< fd of /dev/ublkcN
  std::vector<QueueView> queues;
  Target* target = nullptr;
  DaemonCounters* counters = nullptr;
  bool auto_zc_fallback = false;
  std::uint32_t force_fallback_every = 0;  ///< see AutoZeroCopyFallbackPath
};

class Daemon {
 public:
  Daemon() = default;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  virtual ~Daemon() = default;

  /// Hands the io commands to the driver; the device can start once all daemons did.
  virtual Result<> arm() = 0;

  /// Serves until the driver has taken all io commands back (STOP_DEV, QUIESCE_DEV).
  virtual Result<> serve() = 0;
};

/// Must be called by the task that will serve: the ring belongs to it.
Result<std::unique_ptr<Daemon>> make_daemon(const Mode& mode, DaemonSetup setup);

}  // namespace ublkbench
