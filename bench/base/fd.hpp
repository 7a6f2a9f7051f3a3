// SPDX-License-Identifier: MIT
// Owners of what the kernel hands out: file descriptors and mappings.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

/// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

/// Opens `path`; the flags always get O_CLOEXEC.
inline Result<Fd> open_file(const std::string& path, int flags, mode_t mode = 0644) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return failed("open", path, errno);
  return Fd(fd);
}

/// A memory mapping that unmaps itself.
class Mapping {
 public:
  Mapping() = default;
  Mapping(void* address, std::size_t bytes) : address_(address), bytes_(bytes) {}
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      address_ = std::exchange(other.address_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  /// Maps `bytes` of `fd` at `offset`; fd -1 with MAP_ANONYMOUS in `flags` for plain memory.
  static Result<Mapping> map(std::size_t bytes, int protection, int flags, int fd = -1,
                             off_t offset = 0) {
    void* address = ::mmap(nullptr, bytes, protection, flags, fd, offset);
    if (address == MAP_FAILED) return failed("mmap", formatted("{} bytes", bytes), errno);
    return Mapping(address, bytes);
  }

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(address_); }
  [[nodiscard]] std::size_t size() const { return bytes_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data(), bytes_}; }
  [[nodiscard]] bool valid() const { return address_ != nullptr; }
  void reset() {
    if (address_ != nullptr) ::munmap(std::exchange(address_, nullptr), bytes_);
  }

 private:
  void* address_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace ublkbench
