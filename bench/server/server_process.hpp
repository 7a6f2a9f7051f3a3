// SPDX-License-Identifier: MIT
// The process that serves a device: the daemons and the memory that they share.
#pragma once

#include <memory>
#include <span>

#include "bench/server/channel.hpp"
#include "bench/server/counters.hpp"
#include "bench/server/make_data_path.hpp"
#include "bench/server/serve_options.hpp"

namespace ublkbench {

/// A device that the process serves.
struct ServedDevice {
  int id = -1;
  std::uint8_t block_shift = 9;  ///< of its logical blocks
  std::unique_ptr<Target> target;
};

/// Serves the devices with one thread per daemon until the driver takes the io commands back.
/// Says ready once all fetches were submitted, or what went wrong; one that the driver refuses is
/// said after that. Returns the process's exit code.
int run_server_process(const ServeOptions& options, std::span<const ServedDevice> devices,
                       std::span<DaemonCounters> counters, const ServerResources& resources,
                       ChannelWriter& channel);

}  // namespace ublkbench
