// SPDX-License-Identifier: MIT
// The process that serves a device: the daemons and the memory that they share.
#pragma once

#include <span>

#include "bench/server/channel.hpp"
#include "bench/server/counters.hpp"
#include "bench/server/metadata_store.hpp"
#include "bench/server/serve_options.hpp"

namespace ublkbench {

/// What the supervisor made before the process was forked.
struct ServerResources {
  std::byte* shared_memory = nullptr;       ///< shmem_zc
  const MetadataStore* metadata = nullptr;  ///< of a device whose blocks have metadata
};

/// Serves device `id` with one thread per daemon until the driver takes the io commands back.
/// Says ready when all were fetched, or what went wrong. Returns the process's exit code.
int run_server_process(const ServeOptions& options, const ublksrv_ctrl_dev_info& device,
                       Target& target, std::span<DaemonCounters> counters,
                       const ServerResources& resources, ChannelWriter& channel);

}  // namespace ublkbench
