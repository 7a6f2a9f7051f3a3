// SPDX-License-Identifier: MIT
// A write cache that a kill of the server loses: written blocks stay in anonymous memory of the
// server process until a flush puts them into the file below. Shared by all lanes.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "bench/base/fd.hpp"
#include "bench/ring/chain.hpp"

namespace ublkbench {

class VolatileCache {
 public:
  static constexpr unsigned block_shift = 12;
  static constexpr std::uint64_t block_bytes = 1ULL << block_shift;

  /// Over `device_bytes` of file `below`, which stays the caller's.
  static Result<std::unique_ptr<VolatileCache>> create(int below, std::uint64_t device_bytes);

  /// The cache's own file, for SQEs, and the same bytes in memory; both as large as the device.
  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] std::byte* memory() const { return memory_.data(); }

  /// A run of blocks that are all in the cache, or all not.
  struct Run {
    std::uint64_t bytes = 0;
    bool cached = false;
  };
  /// The run that starts at `offset`, `limit` bytes at most.
  [[nodiscard]] Run run_at(std::uint64_t offset, std::uint64_t limit) const;

  /// The cache holds new data for these bytes.
  void written(std::uint64_t offset, std::uint64_t bytes);

  /// Puts everything written so far on stable storage, and blocks the calling task for as long as
  /// that takes; another task's flush waits. 0 or a negative errno, after which nothing is lost.
  std::int32_t flush();

 private:
  VolatileCache(int below, std::uint64_t blocks, Fd file, Mapping memory)
      : below_(below),
        blocks_(blocks),
        file_(std::move(file)),
        memory_(std::move(memory)),
        cached_(new std::atomic<bool>[blocks]()),
        dirty_(new bool[blocks]()) {}

  /// Writes one run of dirty blocks from `block` on; the block behind it, or a negative errno.
  std::int64_t write_back(std::uint64_t block);

  int below_;
  std::uint64_t blocks_;
  Fd file_;
  Mapping memory_;
  std::unique_ptr<std::atomic<bool>[]> cached_;  // set once and never cleared
  std::mutex mutex_;
  std::unique_ptr<bool[]> dirty_;  // under mutex_
};

}  // namespace ublkbench
