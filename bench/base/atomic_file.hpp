// SPDX-License-Identifier: MIT
// Files that a reader never finds half-written: whole files by rename, JSON lines by append.
#pragma once

#include <string>
#include <string_view>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

/// Replaces `path` as a whole: a temporary file in the same folder, fsync, rename, fsync of the
/// folder. What is no regular file (a pipe, /dev/stdout) cannot be replaced and is written to.
Result<> write_file_atomically(const std::string& path, std::string_view contents);

/// A file or folder that one process at a time writes to, for as long as this lives; another is
/// refused by name. Children do not have it: it ends with this process, however that ends.
class ExclusiveUse {
 public:
  /// A file that is there, or a folder. ExitCode::usage if somebody has it.
  static Result<ExclusiveUse> take(const std::string& path);
  ExclusiveUse() = default;
  ExclusiveUse(ExclusiveUse&& other) noexcept = default;
  ExclusiveUse& operator=(ExclusiveUse&& other) noexcept;
  ~ExclusiveUse();

  /// Gives all of them up in a process that was forked, where no owner is destroyed.
  static void let_go_in_child();

 private:
  friend class OwnedFile;
  explicit ExclusiveUse(Fd locked);
  Fd locked_;
};

/// A file that this process replaces again and again, and nobody else meanwhile.
class OwnedFile {
 public:
  /// Nothing is written yet. What is no regular file cannot be owned, and is written to.
  static Result<OwnedFile> open(const std::string& path);
  /// As write_file_atomically().
  Result<> write(std::string_view contents);

 private:
  explicit OwnedFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  ExclusiveUse use_;
};

/// Appends `line` and a newline, and waits until the disk has both. A line that does not fit is
/// taken back; an incomplete last line, left by a crash, is cut off first. Several processes may
/// append to one file.
Result<> append_line(const std::string& path, std::string_view line);

}  // namespace ublkbench
