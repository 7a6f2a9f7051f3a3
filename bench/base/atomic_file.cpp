// SPDX-License-Identifier: MIT
#include "bench/base/atomic_file.hpp"

#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <format>

#include "bench/base/fd.hpp"

namespace ublkbench {
namespace {

std::unexpected<Error> write_failed(const std::string& path, int errnum) {
  const bool full = errnum == ENOSPC || errnum == EDQUOT;
  return failed("write", path, errnum, full ? "free some space, or name another file" : "");
}

Result<> write_all(int fd, std::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t written = ::write(fd, contents.data(), contents.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return write_failed(path, errno);
    contents.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<> sync_file(int fd, const std::string& path) {
  // Pipes and terminals have nothing to sync (EINVAL); a file system may be read-only by now
  // (EROFS).
  if (::fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP) return failed("fsync", path, errno);
  return {};
}

std::string folder_of(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder.string();
}

Result<> sync_folder(const std::string& folder) {
  const auto fd = open_file(folder, O_RDONLY | O_DIRECTORY);
  if (!fd) return std::unexpected(fd.error());
  return sync_file(fd->get(), folder);
}

/// The file that a chain of symbolic links ends at; links stay links.
std::string resolved(const std::string& path) {
  std::error_code error;
  const auto target = std::filesystem::canonical(path, error);
  return error ? path : target.string();
}

Result<> write_in_place(const std::string& path, std::string_view contents) {
  const auto fd = open_file(path, O_WRONLY);
  if (!fd) return std::unexpected(fd.error());
  return write_all(fd->get(), contents, path);
}

/// A temporary file that is gone unless it was renamed.
class Temporary {
 public:
  explicit Temporary(std::string path) : path_(std::move(path)) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  Result<> rename_to(const std::string& path) {
    if (::rename(path_.c_str(), path.c_str()) != 0) return failed("rename to", path, errno);
    path_.clear();
    return {};
  }

 private:
  std::string path_;
};

Result<> replace(const std::string& path, mode_t mode, std::string_view contents) {
  std::string name = path + ".XXXXXX";
  const Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd.valid()) return failed("write", path, errno);
  Temporary temporary(name);
  if (::fchmod(fd.get(), mode) != 0) return failed("chmod", name, errno);
  if (auto written = write_all(fd.get(), contents, path); !written) return written;
  if (auto synced = sync_file(fd.get(), path); !synced) return synced;
  if (auto renamed = temporary.rename_to(path); !renamed) return renamed;
  return sync_folder(folder_of(path));
}

mode_t mode_of_new_files() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

/// Where the last complete line ends: 0, or one past the last newline.
Result<off_t> end_of_lines(int fd, off_t size, const std::string& path) {
  std::array<char, 4096> chunk{};
  while (size > 0) {
    const off_t from = std::max<off_t>(0, size - static_cast<off_t>(chunk.size()));
    const ssize_t got = ::pread(fd, chunk.data(), static_cast<std::size_t>(size - from), from);
    if (got <= 0) return failed("read", path, got < 0 ? errno : EIO);
    const std::string_view text(chunk.data(), static_cast<std::size_t>(got));
    if (const auto at = text.rfind('\n'); at != std::string_view::npos)
      return from + static_cast<off_t>(at) + 1;
    size = from;
  }
  return 0;
}

Result<> append_to_regular(int fd, std::string_view text, const std::string& path) {
  if (::flock(fd, LOCK_EX) != 0) return failed("lock", path, errno);
  struct stat status{};
  if (::fstat(fd, &status) != 0) return failed("stat", path, errno);
  const auto end = end_of_lines(fd, status.st_size, path);
  if (!end) return std::unexpected(end.error());
  if (*end != status.st_size && ::ftruncate(fd, *end) != 0)
    return failed("cut the torn last line off", path, errno);
  auto written = write_all(fd, text, path);
  if (written) written = sync_file(fd, path);
  if (!written && ::ftruncate(fd, *end) != 0)
    return failed("take a torn line back from", path, errno);
  return written;
}

}  // namespace

Result<> write_file_atomically(const std::string& path, std::string_view contents) {
  const std::string target = resolved(path);
  struct stat status{};
  if (::stat(target.c_str(), &status) != 0)
    return errno == ENOENT ? replace(target, mode_of_new_files(), contents)
                           : failed("write", path, errno);
  if (S_ISDIR(status.st_mode)) return failed("write", path, EISDIR, "name a file in it");
  if (!S_ISREG(status.st_mode)) return write_in_place(path, contents);
  return replace(target, status.st_mode & 07777, contents);
}

Result<> append_line(const std::string& path, std::string_view line) {
  if (line.contains('\n')) return bad_input(std::format("a line for {} has a newline", path));
  const auto fd = open_file(path, O_RDWR | O_APPEND | O_CREAT, 0666);
  if (!fd) return std::unexpected(fd.error());
  struct stat status{};
  if (::fstat(fd->get(), &status) != 0) return failed("stat", path, errno);
  const std::string text = std::string(line) + '\n';
  if (!S_ISREG(status.st_mode)) return write_all(fd->get(), text, path);
  const bool is_new = status.st_size == 0;
  auto appended = append_to_regular(fd->get(), text, path);
  return appended && is_new ? sync_folder(folder_of(path)) : appended;
}

Result<std::vector<std::string>> read_complete_lines(const std::string& path) {
  const auto fd = open_file(path, O_RDONLY);
  if (!fd) return std::unexpected(fd.error());
  std::vector<std::string> lines;
  std::string rest;
  std::array<char, 65536> chunk{};
  for (;;) {
    const ssize_t got = ::read(fd->get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", path, errno);
    if (got == 0) return lines;
    rest.append(chunk.data(), static_cast<std::size_t>(got));
    std::size_t from = 0;
    for (std::size_t to; (to = rest.find('\n', from)) != std::string::npos; from = to + 1)
      lines.push_back(rest.substr(from, to - from));
    rest.erase(0, from);
  }
}

}  // namespace ublkbench
