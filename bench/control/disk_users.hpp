// SPDX-License-Identifier: MIT
// Who loses data or hangs when a disk goes away: asked before it does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench::control {

struct DiskUser {
  enum class Kind : std::uint8_t {
    mount,  ///< a file system on it
    swap,
    device,   ///< dm, md, bcache or loop on top of it
    process,  ///< has it open; a short look of udev's or blkid's is this, too
  };
  Kind kind;
  std::string text;  ///< "mounted on /srv", "open in process 312 (fio)"
};

/// Users of /dev/ublkbN and its partitions, as far as they can be seen from here.
std::vector<DiskUser> disk_users(int id);

/// All of them in one line; empty if there are none.
std::string in_words(const std::vector<DiskUser>& users);

/// Waits a moment for those who only look at a new disk to be gone, and refuses if others use it.
Result<> refuse_if_used(int id);

}  // namespace ublkbench::control
