// SPDX-License-Identifier: MIT
#include "bench/load/buffers.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/load/offsets.hpp"

namespace ublkbench::load {
namespace {

/// Offsets into a file on hugetlbfs are mapped in whole huge pages; f_bsize is their size there.
Result<std::uint64_t> mapping_unit(int fd, const std::string& file) {
  struct statfs status{};
  if (::fstatfs(fd, &status) != 0) return failed("statfs", file, errno);
  return std::max<std::uint64_t>(static_cast<std::uint64_t>(status.f_bsize), 4096);
}

/// Allocates, which also grows the file and never shrinks it: jobs do this at once, and a job that
/// measured the file and then set its length would cut off what another has just mapped. Memory
/// that is not there is an error here, not a SIGBUS later.
Result<> allocate(int fd, const std::string& file, std::uint64_t begin, std::uint64_t bytes) {
  const int error = ::posix_fallocate(fd, static_cast<off_t>(begin), static_cast<off_t>(bytes));
  if (error == 0) return {};
  return failed("allocate", formatted("{} bytes of {}", bytes, file), error,
                "is its file system full, or out of huge pages?");
}

}  // namespace

Result<> check_buffer_file(const std::string& file, bool destructive) {
  struct stat status{};
  struct statfs system{};
  if (file.empty() || destructive || ::stat(file.c_str(), &status) != 0 || status.st_size == 0)
    return {};
  if (::statfs(file.c_str(), &system) != 0) return failed("statfs", file, errno);
  if (system.f_type == TMPFS_MAGIC || system.f_type == HUGETLBFS_MAGIC) return {};
  return bad_input(formatted("the load's data would overwrite {}", file),
                   "name a new file, or allow it with --destructive");
}

Result<Buffers> Buffers::create(unsigned slots, std::uint64_t bytes, const std::string& file,
                                std::uint64_t first) {
  const std::uint64_t length = slots * bytes;
  if (file.empty()) {
    auto mapping =
        Mapping::map(length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
    if (!mapping) return std::unexpected(mapping.error());
    return Buffers(std::move(*mapping), slots, bytes, 0);
  }
  auto fd = open_file(file, O_RDWR | O_CREAT);
  if (!fd) return std::unexpected(fd.error());
  const auto unit = mapping_unit(fd->get(), file);
  if (!unit) return std::unexpected(unit.error());
  const auto round_up = [&](std::uint64_t value) { return (value + *unit - 1) / *unit * *unit; };
  const std::uint64_t begin = first * bytes;
  const std::uint64_t map_begin = begin / *unit * *unit;
  const std::uint64_t map_end = round_up(begin + length);
  if (auto done = allocate(fd->get(), file, map_begin, map_end - map_begin); !done)
    return std::unexpected(done.error());
  auto mapping = Mapping::map(map_end - map_begin, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_POPULATE, fd->get(), static_cast<off_t>(map_begin));
  if (!mapping) return std::unexpected(mapping.error());
  return Buffers(std::move(*mapping), slots, bytes, begin - map_begin);
}

std::vector<iovec> Buffers::iovecs() const {
  std::vector<iovec> vectors(slots_);
  for (unsigned index = 0; index < slots_; ++index)
    vectors[index] = {.iov_base = slot(index).data(), .iov_len = bytes_};
  return vectors;
}

void Buffers::fill(std::uint64_t seed) {
  Random random(seed);
  const std::span<std::byte> all = mapping_.bytes().subspan(skip_, slots_ * bytes_);
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= all.size(); at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random.next();
    std::memcpy(all.data() + at, &word, sizeof word);
  }
  for (; at < all.size(); ++at) all[at] = static_cast<std::byte>(random.next());
}

// Reachable, so that leak checkers see the intention, and never destroyed: closing a ring waits for
// nothing, but after an unmap a late completion would write to whatever is mapped there next.
void keep_for_ever(Ring ring, Buffers buffers) {
  static std::mutex mutex;
  static auto* const kept = new std::vector<std::pair<Ring, Buffers>>;
  const std::scoped_lock lock(mutex);
  kept->emplace_back(std::move(ring), std::move(buffers));
}

}  // namespace ublkbench::load
