// SPDX-License-Identifier: MIT
#include "bench/base/standard_streams.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace ublkbench {
namespace {

std::vector<int>& inherited() {
  static std::vector<int> descriptors;
  return descriptors;
}

/// The descriptor that the listing itself uses is in the list as well, and closed by then.
void remember_descriptors() {
  std::error_code error;
  std::vector<int> found;
  for (auto entry = std::filesystem::directory_iterator("/proc/self/fd", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    if (fd > STDERR_FILENO) found.push_back(fd);
  }
  for (const int fd : found)
    if (::fcntl(fd, F_GETFD) >= 0) inherited().push_back(fd);
}

void write_ignoring_errors(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace

void prepare_standard_streams() {
  // The wrong way round: reading from what was closed, and writing to it, fails with EBADF.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    while (::fcntl(stream, F_GETFD) < 0)
      if (::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) break;
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // ulimit -f: an error of write(), too
  remember_descriptors();
}

void close_callers_descriptors() {
  for (const int fd : inherited()) ::close(fd);
  inherited().clear();
}

void say(std::string_view line) {
  std::string text(line);
  while (text.ends_with('\n')) text.pop_back();
  say_part(text + '\n');
}

void say_part(std::string_view text) { write_ignoring_errors(STDERR_FILENO, text); }

void print_part(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Result<> write_to_stdout(std::string_view text) {
  // In order with what others wrote through stdio.
  int errnum = std::fflush(stdout) == 0 ? 0 : errno;
  while (errnum == 0 && !text.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0) errnum = errno;
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
  if (errnum == 0) return {};
  return std::unexpected(
      failed("write", "the results to stdout", errnum).error().with_exit(ExitCode::usage));
}

}  // namespace ublkbench
