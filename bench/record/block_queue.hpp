// SPDX-License-Identifier: MIT
// The request queue of a block device, as /sys/block/X/queue shows it.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "bench/record/fields.hpp"

namespace ublkbench {

/// "/sys/class/block/ublkb0" of "ublkb0", "/dev/ublkb0" or a link to it; a partition gives its
/// disk's; nothing if there is no such block device. `root` is put before every path that is read.
std::optional<std::string> disk_folder(const std::string& block_device,
                                       const std::string& root = {});

/// Settings that decide what a read or a write costs, besides the schedulers and the number of
/// hardware queues. Not in it: what only discards and zeroing read, and hints that nobody obeys
/// while measuring.
inline constexpr std::array queue_settings_that_decide{"nomerges",
                                                       "rq_affinity",
                                                       "iostats",
                                                       "wbt_lat_usec",
                                                       "nr_requests",
                                                       "max_sectors_kb",
                                                       "max_segments",
                                                       "max_segment_size",
                                                       "logical_block_size",
                                                       "write_cache",
                                                       "fua",
                                                       "rotational",
                                                       "add_random",
                                                       "io_poll",
                                                       "io_poll_delay",
                                                       "read_ahead_kb",
                                                       "dma_alignment",
                                                       "virt_boundary_mask",
                                                       "zoned"};

/// Settings and limits of the device's queue, an object; empty if there is no such block device.
RawJson queue_limits(const std::string& block_device, const std::string& root = {});

/// Hardware queues of the device, as the driver shows them; 0: it shows none.
unsigned hardware_queues(const std::string& block_device, const std::string& root = {});

}  // namespace ublkbench
