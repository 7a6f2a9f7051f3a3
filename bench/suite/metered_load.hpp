// SPDX-License-Identifier: MIT
// A load in a process of its own, and what is read at the very edges of its measured window.
#pragma once

#include <optional>

#include "bench/base/result.hpp"
#include "bench/load/options.hpp"
#include "bench/record/sample_record.hpp"
#include "bench/server/server.hpp"
#include "bench/suite/foreign_device.hpp"
#include "bench/suite/probe_process.hpp"

namespace ublkbench {

/// The load's report, and what was used in its measured window.
struct MeteredLoad {
  LoadReport load;
  std::optional<ServerUsage> server = {};
  std::optional<ProcessUsage> server_process = {};
  std::optional<BlockUse> block = {};
  QuotaUse cpu_quota = {};
  std::optional<PageCacheUse> page_cache = {};

  static constexpr auto fields() {
    using M = MeteredLoad;
    return std::tuple(required("load", &M::load), field("server", &M::server),
                      field("server_process", &M::server_process), field("block", &M::block),
                      required("cpu_quota", &M::cpu_quota), field("page_cache", &M::page_cache));
  }
};

/// Runs the load, with all that is read at the very edges of the measured window: the usage of our
/// own server or of somebody else's process, the device's statistics, quotas; and the probes are
/// told of them.
/// `is_ours`: the page cache of the device may be emptied before a load without O_DIRECT.
Result<MeteredLoad> load_and_meter(const load::LoadOptions& options, const Server* server,
                                   const ForeignServer* foreign, const ProbeProcess* probes,
                                   bool is_ours);

}  // namespace ublkbench
