// SPDX-License-Identifier: MIT
// Memory that is a file too: this process reaches it by its mapping, SQEs on registered buffers by
// the file.
#pragma once

#include <cstdint>
#include <string_view>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

struct MemoryFile {
  Fd file;
  Mapping memory;  ///< all of it, shared; pages are made as they are touched
};

/// `whose` is for errors and, behind "ublkbench", for /proc/PID/maps: "target mem".
Result<MemoryFile> make_memory_file(std::string_view whose, std::uint64_t bytes);

}  // namespace ublkbench
