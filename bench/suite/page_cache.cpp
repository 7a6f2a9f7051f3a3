// SPDX-License-Identifier: MIT
#include "bench/suite/page_cache.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <fstream>

#include "bench/base/fd.hpp"
#include "bench/base/format.hpp"

namespace ublkbench {

std::optional<std::uint64_t> device_read_bytes(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISBLK(status.st_mode)) return std::nullopt;
  const std::string node =
      formatted("/sys/dev/block/{}:{}", major(status.st_rdev), minor(status.st_rdev));
  for (const char* queue : {"/queue/iostats", "/../queue/iostats"}) {
    std::ifstream file(node + queue);
    int counts = 1;
    if (file >> counts && counts == 0) return std::nullopt;
  }
  // Documentation/block/stat.rst: reads, reads merged, sectors read (of 512 bytes), ...
  std::ifstream file(node + "/stat");
  std::uint64_t reads = 0;
  std::uint64_t merges = 0;
  std::uint64_t sectors = 0;
  if (!(file >> reads >> merges >> sectors)) return std::nullopt;
  return sectors * 512;
}

bool drop_page_cache(const std::string& path) {
  const auto device = open_file(path, O_RDONLY);
  return device && ::ioctl(device->get(), BLKFLSBUF, 0) == 0;
}

}  // namespace ublkbench
