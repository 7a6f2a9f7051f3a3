// SPDX-License-Identifier: MIT
// Options that shape the block device: limits, caches, metadata, what happens without a server.
#pragma once

#include <CLI/CLI.hpp>

#include "bench/server/device_options.hpp"

namespace ublkbench {

/// `options` must live as long as `app`.
void add_device_options(CLI::App& app, DeviceOptions& options);

}  // namespace ublkbench
