// SPDX-License-Identifier: MIT
#include "bench/base/atomic_file.hpp"

#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/base/first_line.hpp"
#include "bench/base/format.hpp"

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

  Result<> rename_to(const std::string& path, unsigned flags) {
    int ret = ::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, path.c_str(), flags);
    if (ret != 0 && errno == EINVAL && flags != 0) ret = ::rename(path_.c_str(), path.c_str());
    if (ret != 0) return failed("rename to", path, errno);
    path_.clear();
    return {};
  }

 private:
  std::string path_;
};

/// Ctrl-C waits until the temporary file is gone.
class InterruptsHeld {
 public:
  InterruptsHeld() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~InterruptsHeld() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  InterruptsHeld(const InterruptsHeld&) = delete;
  InterruptsHeld& operator=(const InterruptsHeld&) = delete;

 private:
  sigset_t before_{};
};

/// Puts `contents` where `path` is, and `lock` on what is there then. A path that was free must
/// still be: somebody else's new file is not ours to replace.
Result<> replace(const std::string& path, mode_t mode, std::string_view contents,
                 Fd* lock = nullptr) {
  const InterruptsHeld until_it_is_renamed;
  std::string name = path + ".XXXXXX";
  Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd.valid()) return failed("write", path, errno);
  Temporary temporary(name);
  if (::fchmod(fd.get(), mode) != 0) return failed("chmod", name, errno);
  if (auto written = write_all(fd.get(), contents, path); !written) return written;
  if (auto synced = sync_file(fd.get(), path); !synced) return synced;
  // A file system without locks has nobody else's either.
  if (lock != nullptr) (void)::flock(fd.get(), LOCK_EX | LOCK_NB);
  const bool was_free = lock != nullptr && !lock->valid();
  if (auto renamed = temporary.rename_to(path, was_free ? RENAME_NOREPLACE : 0); !renamed)
    return renamed;
  if (lock != nullptr) *lock = std::move(fd);
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

namespace {

std::vector<int>& exclusive_descriptors() {
  static std::vector<int> descriptors;
  return descriptors;
}

/// "process 4711 (ublkbench)", as /proc/locks knows it.
std::string holder_of(const struct stat& status) {
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, advice, access, place;
    pid_t pid = 0;
    if (!(words >> number >> kind >> advice >> access >> pid >> place) || kind != "FLOCK") continue;
    if (place.substr(place.rfind(':') + 1) != std::to_string(status.st_ino) || pid <= 0) continue;
    const std::string name = first_line(formatted("/proc/{}/comm", pid));
    return name.empty() ? formatted("process {}", pid) : formatted("process {} ({})", pid, name);
  }
  return "another process";
}

std::unexpected<Error> in_use(const std::string& path, const struct stat& status) {
  return bad_input(formatted("{} is being written by {}", path, holder_of(status)),
                   "wait for its end, or write elsewhere");
}

}  // namespace

ExclusiveUse::ExclusiveUse(Fd locked) : locked_(std::move(locked)) {
  exclusive_descriptors().push_back(locked_.get());
}

ExclusiveUse::~ExclusiveUse() { std::erase(exclusive_descriptors(), locked_.get()); }

ExclusiveUse& ExclusiveUse::operator=(ExclusiveUse&& other) noexcept {
  if (this == &other) return *this;
  std::erase(exclusive_descriptors(), locked_.get());
  locked_ = std::move(other.locked_);
  return *this;
}

void ExclusiveUse::let_go_in_child() {
  for (const int fd : exclusive_descriptors()) ::close(fd);
  exclusive_descriptors().clear();
}

Result<ExclusiveUse> ExclusiveUse::take(const std::string& path) {
  for (;;) {
    auto fd = open_file(path, O_RDONLY | O_NONBLOCK);
    if (!fd) return std::unexpected(fd.error());
    struct stat status{};
    if (::fstat(fd->get(), &status) != 0) return failed("stat", path, errno);
    if (::flock(fd->get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
      return in_use(path, status);
    // It may have been replaced since it was opened, by somebody who has the new one.
    struct stat now{};
    if (::stat(path.c_str(), &now) != 0 && errno != ENOENT) return failed("stat", path, errno);
    if (now.st_ino == status.st_ino && now.st_dev == status.st_dev)
      return ExclusiveUse(std::move(*fd));
  }
}

Result<OwnedFile> OwnedFile::open(const std::string& path) {
  OwnedFile file(resolved(path));
  struct stat status{};
  if (::stat(file.path_.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return file;
  auto use = ExclusiveUse::take(file.path_);
  if (!use) return std::unexpected(use.error());
  file.use_ = std::move(*use);
  return file;
}

Result<> OwnedFile::write(std::string_view contents) {
  struct stat status{};
  const bool there = ::stat(path_.c_str(), &status) == 0;
  if (there && !S_ISREG(status.st_mode)) return write_file_atomically(path_, contents);
  Fd lock = std::move(use_.locked_);
  std::erase(exclusive_descriptors(), lock.get());
  auto written =
      replace(path_, there ? status.st_mode & 07777 : mode_of_new_files(), contents, &lock);
  if (lock.valid()) use_ = ExclusiveUse(std::move(lock));
  if (!written && written.error().errnum == EEXIST && ::stat(path_.c_str(), &status) == 0)
    return in_use(path_, status);
  return written;
}

Result<> append_line(const std::string& path, std::string_view line) {
  if (line.contains('\n')) return bad_input(formatted("a line for {} has a newline", path));
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

}  // namespace ublkbench
