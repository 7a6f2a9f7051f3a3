// SPDX-License-Identifier: MIT
// The thing under load: an open block device or regular file and the limits that the kernel states
// for it. Knows sysfs, not ublk.
#pragma once

#include <cstdint>
#include <string>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench::load {

/// Limits as the kernel states them; 0 where it states none (regular files).
struct DeviceFacts {
  std::string path;
  bool is_block = false;
  std::uint64_t bytes = 0;
  unsigned logical_block_bytes = 512;
  std::uint64_t max_hw_bytes =
      0;  ///< queue/max_hw_sectors_kb: what the driver can take in one request
  std::uint64_t max_bytes = 0;  ///< queue/max_sectors_kb: what the block layer will build
  unsigned max_segments = 0;    ///< queue/max_segments
  bool io_poll = false;         ///< queue/io_poll
  bool merges = false;          ///< queue/nomerges is 0: neighbouring I/Os may become one request
};

enum class Access { read, write };

struct Device {
  Fd fd;
  DeviceFacts facts;
};

/// Opens `path`. What is to be written must not be in use: a block device is opened exclusively,
/// which the kernel refuses while it is mounted or has a holder (device mapper, md, another
/// exclusive opener); what a loop device or swap is on, a whole disk with a partition in use, and a
/// file that a server of ours holds are refused too.
Result<Device> open_device(const std::string& path, Access access, bool direct);

}  // namespace ublkbench::load
