// SPDX-License-Identifier: MIT
#include "probes/lib/completed_ios.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>

#include "bench/base/format.hpp"

namespace ublkbench::probes {
namespace {

/// Of a disk since it was made; nothing if it is not there.
std::optional<std::uint64_t> read_stat(const std::string& path) {
  // Documentation/block/stat.rst: reads, writes, discards and flushes are fields 1, 5, 12 and 16.
  constexpr unsigned fields[] = {0, 4, 11, 15};
  std::ifstream file(path);
  std::uint64_t ios = 0;
  std::uint64_t value = 0;
  unsigned field = 0;
  for (; file >> value; ++field)
    if (std::ranges::contains(fields, field)) ios += value;
  // Cut off: the disk was removed meanwhile. (Linux 5.5 and later have 17 fields.)
  if (field <= *std::ranges::max_element(fields)) return std::nullopt;
  return ios;
}

}  // namespace

CompletedIos::CompletedIos(const Subject& subject, std::string block_folder) {
  for (const Device& device : subject.devices) {
    Disk disk{.stat_file = formatted("{}/ublkb{}/stat", block_folder, device.id)};
    disk.last = read_stat(disk.stat_file).value_or(0);
    disks_.push_back(std::move(disk));
  }
}

std::uint64_t CompletedIos::look() {
  for (Disk& disk : disks_) {
    const auto now = read_stat(disk.stat_file);
    if (!now) continue;
    // Fewer than before: a new disk with this number.
    ios_ += *now < disk.last ? *now : *now - disk.last;
    disk.last = *now;
  }
  return ios_;
}

}  // namespace ublkbench::probes
