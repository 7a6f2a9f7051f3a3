// SPDX-License-Identifier: MIT
// The page cache of a block device: a load without O_DIRECT measures memory as much as the device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ublkbench {

/// Bytes that a block device has read, by the kernel's count of finished requests; nothing where
/// nobody counts (no block device, or queue/iostats is 0).
std::optional<std::uint64_t> device_read_bytes(const std::string& path);

/// Empties it, so that what is read comes from the device; whether that could be done. Only for a
/// device that this run made: others would lose what they had cached.
bool drop_page_cache(const std::string& path);

}  // namespace ublkbench
