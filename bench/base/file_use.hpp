// SPDX-License-Identifier: MIT
// Who else uses a file or a disk: what the kernel does with it, and which processes have it open.
// Two that write to the same blocks destroy each other's data.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <optional>
#include <string>

#include "bench/base/result.hpp"

namespace ublkbench {

/// A regular file or a block device, under whatever name.
struct FileId {
  bool is_block = false;
  dev_t device = 0;  ///< the block device itself, or the one of the file's file system
  ino_t inode = 0;   ///< 0 of a block device

  friend bool operator==(const FileId&, const FileId&) = default;
};
FileId file_id(const struct stat& status);
/// Of what a path leads to; nothing if it cannot be told.
std::optional<FileId> file_id(const std::string& path);

/// Both have bytes in common: they are the same, or one is a partition of the other.
bool overlaps(const FileId& one, const FileId& other);

/// What the kernel does with it that no exclusive open finds out: "loop device /dev/loop0 has it",
/// "it is a swap file"; nothing when it does nothing. With `writes` false, users that only read are
/// no matter.
std::optional<std::string> kernel_use(const FileId& id, bool writes);

/// Whoever can be found that an exclusive open or a lock failed for: mounts, swap, holders such as
/// device mapper, processes that have it open. One sentence without a full stop.
std::string users_of(const FileId& id);

/// Keeps others that do the same from using the file, as long as anything has `fd` open; of those
/// that only read, any number may. Waits a moment for one that is about to let go: the files of a
/// ring outlive its process (io_uring/io_uring.c, io_ring_exit_work). EBUSY when somebody has it. A
/// file system without locks locks nothing.
Result<> hold(int fd, const std::string& path, bool writes);

/// Whether somebody holds it in a way that writing, or reading, must not meet.
bool is_held(int fd, bool writes);

}  // namespace ublkbench
