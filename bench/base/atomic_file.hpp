// SPDX-License-Identifier: MIT
// Files that a reader never finds half-written: whole files by rename, JSON lines by append.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench {

/// Replaces `path` as a whole: a temporary file in the same folder, fsync, rename, fsync of the
/// folder. What is no regular file (a pipe, /dev/stdout) cannot be replaced and is written to.
Result<> write_file_atomically(const std::string& path, std::string_view contents);

/// Appends `line` and a newline, and waits until the disk has both. A line that does not fit is
/// taken back; an incomplete last line, left by a crash, is cut off first. Several processes may
/// append to one file.
Result<> append_line(const std::string& path, std::string_view line);

/// The complete lines of a file; a last line without a newline is still being written, or torn.
Result<std::vector<std::string>> read_complete_lines(const std::string& path);

}  // namespace ublkbench
