// SPDX-License-Identifier: MIT
// How many requests devices have completed since a probe was attached, by the block layer's count.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "probes/lib/subject.hpp"

namespace ublkbench::probes {

class CompletedIos {
 public:
  /// Counts from now on, for the devices that the subject had at the start.
  explicit CompletedIos(const Subject& subject, std::string block_folder = "/sys/block");

  /// The count until now. A disk that is gone keeps what it had at the last look: look often.
  std::uint64_t look();

 private:
  struct Disk {
    std::string stat_file;
    std::uint64_t last = 0;
  };

  std::vector<Disk> disks_;
  std::uint64_t ios_ = 0;
};

}  // namespace ublkbench::probes
