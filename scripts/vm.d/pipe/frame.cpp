// SPDX-License-Identifier: MIT
// Frames, and the small things that both sides need.

#include <fcntl.h>
#include <poll.h>
#include <sys/reboot.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "pipe.hpp"

namespace vm {

void fail(const std::string& what) {
  std::fprintf(stderr, "vm-pipe: %s: %s\n", what.c_str(), std::strerror(errno));
  if (getpid() == 1) reboot(RB_POWER_OFF);
  std::_Exit(70);
}

double seconds_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

bool write_all(int fd, const void* data, std::size_t size, const std::atomic<int>* stop) {
  const auto* at = static_cast<const std::uint8_t*>(data);
  while (size > 0) {
    if (stop != nullptr && *stop != 0) return false;
    const ssize_t written = write(fd, at, size);
    if (written >= 0) {
      at += written;
      size -= static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {
      pollfd writable{fd, POLLOUT, 0};
      poll(&writable, 1, 100);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool send_frame(int fd, FrameType type, const void* payload, std::uint32_t size) {
  static std::array<std::uint8_t, 5 + payload_max> buffer;
  buffer[0] = static_cast<std::uint8_t>(type);
  std::memcpy(&buffer[1], &size, sizeof size);
  std::memcpy(&buffer[5], payload, size);
  return write_all(fd, buffer.data(), 5 + size);
}

FrameReader::Outcome FrameReader::read_from(int fd) {
  const bool in_header = filled_ < header_size;
  std::uint8_t* target =
      in_header ? header_.data() + filled_ : frame_.payload.data() + (filled_ - header_size);
  std::size_t total = in_header ? header_size : header_size + frame_.size;
  const ssize_t count = read(fd, target, total - filled_);
  if (count == 0) return Outcome::end;
  if (count < 0) return errno == EINTR || errno == EAGAIN ? Outcome::partial : Outcome::end;
  filled_ += static_cast<std::size_t>(count);
  if (in_header && filled_ == header_size) {
    frame_.type = static_cast<FrameType>(header_[0]);
    std::memcpy(&frame_.size, &header_[1], sizeof frame_.size);
    if (frame_.size > payload_max) return Outcome::end;
    total = header_size + frame_.size;
  }
  if (filled_ < header_size || filled_ < total) return Outcome::partial;
  filled_ = 0;
  return Outcome::complete;
}

std::vector<std::string> read_strings(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(path);
  std::vector<std::string> strings;
  std::string current;
  std::array<char, 4096> chunk;
  for (ssize_t count; (count = read(fd, chunk.data(), chunk.size())) > 0;) {
    for (ssize_t i = 0; i < count; i++) {
      if (chunk[static_cast<std::size_t>(i)] != '\0') {
        current += chunk[static_cast<std::size_t>(i)];
      } else {
        strings.push_back(current);
        current.clear();
      }
    }
  }
  close(fd);
  return strings;
}

}  // namespace vm
