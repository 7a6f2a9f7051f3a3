// SPDX-License-Identifier: MIT
#include "bench/targets/volatile_cache.hpp"

#include <unistd.h>

#include <algorithm>

#include "bench/targets/memory_file.hpp"

namespace ublkbench {

Result<std::unique_ptr<VolatileCache>> VolatileCache::create(int below,
                                                             std::uint64_t device_bytes) {
  auto cache = make_memory_file("cache=volatile", device_bytes);
  if (!cache) return std::unexpected(cache.error());
  return std::unique_ptr<VolatileCache>(new VolatileCache(
      below, device_bytes >> block_shift, std::move(cache->file), std::move(cache->memory)));
}

VolatileCache::Run VolatileCache::run_at(std::uint64_t offset, std::uint64_t limit) const {
  const std::uint64_t first = offset >> block_shift;
  const std::uint64_t end = (offset + limit) >> block_shift;
  const bool cached = cached_[first].load(std::memory_order_acquire);
  std::uint64_t block = first + 1;
  while (block < end && cached_[block].load(std::memory_order_acquire) == cached) ++block;
  return {.bytes = (block - first) << block_shift, .cached = cached};
}

void VolatileCache::written(std::uint64_t offset, std::uint64_t bytes) {
  const std::scoped_lock lock(mutex_);
  for (std::uint64_t block = offset >> block_shift; block < (offset + bytes) >> block_shift;
       ++block) {
    dirty_[block] = true;
    cached_[block].store(true, std::memory_order_release);
  }
}

std::int64_t VolatileCache::write_back(std::uint64_t block) {
  constexpr std::uint64_t longest = (1ULL << 20) >> block_shift;
  std::uint64_t end = block + 1;
  while (end < blocks_ && dirty_[end] && end - block < longest) ++end;
  const std::size_t bytes = (end - block) << block_shift;
  const auto offset = static_cast<off_t>(block << block_shift);
  const ssize_t done = ::pwrite(below_, memory_.data() + offset, bytes, offset);
  if (done < 0) return -errno;
  if (done != static_cast<ssize_t>(bytes)) return -EIO;
  std::fill(dirty_.get() + block, dirty_.get() + end, false);
  return static_cast<std::int64_t>(end);
}

std::int32_t VolatileCache::flush() {
  const std::scoped_lock lock(mutex_);
  for (std::uint64_t block = 0; block < blocks_;) {
    if (!dirty_[block]) {
      ++block;
      continue;
    }
    const std::int64_t next = write_back(block);
    if (next < 0) return static_cast<std::int32_t>(next);
    block = static_cast<std::uint64_t>(next);
  }
  return ::fdatasync(below_) == 0 ? 0 : -errno;
}

}  // namespace ublkbench
