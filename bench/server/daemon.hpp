// SPDX-License-Identifier: MIT
// The task that serves io commands: one loop, no branch on the mode.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/server/counters.hpp"
#include "bench/server/io_slot.hpp"
#include "bench/server/make_data_path.hpp"
#include "bench/server/mode.hpp"
#include "bench/server/waiting.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

struct DaemonSetup {
  unsigned index = 0;  ///< which of the process's daemons this is
  std::vector<DeviceView> devices;
  std::vector<QueueView> queues;
  /// Called by the daemon that goes on with others when it has let go of one of its `devices`,
  /// whose io commands the driver took back. May be empty.
  std::function<void(const DeviceView&)> released;
  /// The devices' files stay out of the rings' tables, which would keep them: see
  /// frees_removed_files().
  bool plain_files = false;
  DaemonCounters* counters = nullptr;
  DaemonCounters* worker_counters = nullptr;  ///< with placement offload
  std::uint32_t max_io_bytes = 0;
  Waiting waiting;
  BatchOptions batch;
  DataPathChoice path;
  std::shared_ptr<std::uint64_t[]> append_sectors;  ///< zoned devices: by slot, see ZonedPath
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

/// Must be called by the task that will serve: the rings belong to it.
Result<std::unique_ptr<Daemon>> make_daemon(const Mode& mode, DaemonSetup setup);

/// The same for one delivery each; in translation units of their own, because a delivery is
/// compiled once for each data path.
Result<std::unique_ptr<Daemon>> make_per_io_daemon(const Mode& mode, DaemonSetup setup);
Result<std::unique_ptr<Daemon>> make_batch_daemon(const Mode& mode, DaemonSetup setup);
/// Either delivery, on a zoned device.
Result<std::unique_ptr<Daemon>> make_zoned_daemon(const Mode& mode, DaemonSetup setup);

/// Whether each io command has a buffer of the server's in this mode.
bool needs_buffers(const Mode& mode);

/// Where a read's or write's data is in this mode, for targets that cannot serve all places.
Data::Place data_place(const Mode& mode);

}  // namespace ublkbench
