// SPDX-License-Identifier: MIT
// How much of a file was ever written. Of the rest, holes and preallocated extents, zeroes are read
// without asking a disk: a benchmark that reads there measures no disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ublkbench {

struct Written {
  std::uint64_t written_bytes = 0;
  std::uint64_t bytes = 0;
  bool in_memory = false;  ///< a file is on tmpfs or hugetlbfs: there is no disk at all
};

/// Of all the files together; nothing where one of them cannot tell, as a disk cannot.
std::optional<Written> written_of(const std::vector<std::string>& paths);

}  // namespace ublkbench
