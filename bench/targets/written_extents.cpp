// SPDX-License-Identifier: MIT
#include "bench/targets/written_extents.hpp"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "bench/base/fd.hpp"

namespace ublkbench {
namespace {

constexpr std::size_t extents_at_once = 256;

/// As the file system has it on disk: it tells written extents from those that are only allocated.
/// What waits to be written back (DELALLOC) has been written.
std::optional<std::uint64_t> written_by_extents(int fd, std::uint64_t size) {
  constexpr std::size_t request_bytes = sizeof(fiemap) + extents_at_once * sizeof(fiemap_extent);
  alignas(fiemap) std::array<std::byte, request_bytes> memory;
  auto& request = *reinterpret_cast<fiemap*>(memory.data());
  const auto* const extents = reinterpret_cast<const fiemap_extent*>(&request + 1);
  std::uint64_t written = 0;
  for (std::uint64_t at = 0; at < size;) {
    memory.fill(std::byte{0});
    request.fm_start = at;
    request.fm_length = size - at;
    request.fm_extent_count = extents_at_once;
    if (::ioctl(fd, FS_IOC_FIEMAP, &request) != 0) return std::nullopt;
    if (request.fm_mapped_extents == 0) break;
    for (std::size_t index = 0; index < request.fm_mapped_extents; ++index) {
      const fiemap_extent& extent = extents[index];
      const std::uint64_t begin = std::max<std::uint64_t>(extent.fe_logical, at);
      const std::uint64_t end =
          std::min<std::uint64_t>(extent.fe_logical + extent.fe_length, size);
      if ((extent.fe_flags & FIEMAP_EXTENT_UNWRITTEN) == 0 && end > begin) written += end - begin;
      at = std::max(at, end);
      if ((extent.fe_flags & FIEMAP_EXTENT_LAST) != 0) return written;
    }
  }
  return written;
}

/// For file systems without FIEMAP (tmpfs). One without holes says that all is data.
std::optional<std::uint64_t> written_by_seeking(int fd, std::uint64_t size) {
  std::uint64_t written = 0;
  for (off_t at = 0; static_cast<std::uint64_t>(at) < size;) {
    const off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // a hole up to the end
    if (data < 0) return std::nullopt;
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return std::nullopt;
    written += static_cast<std::uint64_t>(hole - data);
    at = hole;
  }
  return written;
}

std::optional<Written> written_of_file(const std::string& path) {
  struct stat status{};
  const auto file = open_file(path, O_RDONLY | O_NONBLOCK);
  if (!file || ::fstat(file->get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  auto written = written_by_extents(file->get(), size);
  if (!written) written = written_by_seeking(file->get(), size);
  if (!written) return std::nullopt;
  struct statfs system{};
  const bool known = ::fstatfs(file->get(), &system) == 0;
  return Written{
      .written_bytes = *written,
      .bytes = size,
      .in_memory = known && (system.f_type == TMPFS_MAGIC || system.f_type == HUGETLBFS_MAGIC)};
}

}  // namespace

std::optional<Written> written_of(const std::vector<std::string>& paths) {
  if (paths.empty()) return std::nullopt;
  Written all;
  for (const std::string& path : paths) {
    const auto one = written_of_file(path);
    if (!one) return std::nullopt;
    all.written_bytes += one->written_bytes;
    all.bytes += one->bytes;
    all.in_memory |= one->in_memory;
  }
  return all;
}

}  // namespace ublkbench
