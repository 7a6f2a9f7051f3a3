// SPDX-License-Identifier: MIT
// The control: a null_blk device, made for one sample and removed after it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench {

class NullBlock {
 public:
  /// Makes a device through configfs, loading the module and mounting configfs where needed.
  static Result<NullBlock> create(unsigned queues, unsigned depth, std::uint64_t bytes);

  NullBlock(NullBlock&& other) noexcept;
  NullBlock& operator=(NullBlock&& other) noexcept;
  NullBlock(const NullBlock&) = delete;
  NullBlock& operator=(const NullBlock&) = delete;
  ~NullBlock();

  /// "/dev/nullb3"
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  NullBlock(std::string folder, std::string path)
      : folder_(std::move(folder)), path_(std::move(path)) {}

  std::string folder_;
  std::string path_;
};

/// What became of null_blk devices of runs that are not this one.
struct StaleNullBlocks {
  unsigned removed = 0;             ///< their makers are provably dead
  std::vector<std::string> spared;  ///< "ublkbench-12-0 (why)", except of makers that live
};
StaleNullBlocks remove_stale_null_blocks();

}  // namespace ublkbench
