// SPDX-License-Identifier: MIT
// A file or block device that a target stores data in: opened past the page cache where O_DIRECT is
// possible, and described as a block device would be.
#pragma once

#include <sys/types.h>

#include <string>

#include "bench/base/fd.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

class BackingFile {
 public:
  /// `path` must exist and be a regular file or a block device. What cannot be written is opened
  /// for reading. With `use.holds`, what others use is refused, and others are kept from it.
  static Result<BackingFile> open(const std::string& path, const TargetUse& use);

  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const DeviceShape& shape() const { return shape_; }
  [[nodiscard]] bool direct() const { return direct_; }
  [[nodiscard]] bool is_block_device() const { return block_device_; }
  /// Whether its reads and writes can go through a ring that polls: O_DIRECT, a file with polled
  /// I/O, and a disk with poll queues.
  [[nodiscard]] Result<> pollable() const;

 private:
  BackingFile() = default;

  std::string path_;
  Fd file_;
  DeviceShape shape_;
  bool direct_ = false;
  bool block_device_ = false;
  dev_t disk_ = 0;  ///< the device itself, or the one that the file's file system is on
};

/// Serves one request that is not a read or a write with one SQE on file number `file`.
void queue_without_data(Chain& chain, int file, const BackingFile& backing,
                        const Request& request) noexcept;

}  // namespace ublkbench
