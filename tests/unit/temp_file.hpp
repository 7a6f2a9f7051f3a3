// SPDX-License-Identifier: MIT
// A regular file to put a load on; gone when the test ends.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace ublkbench::test {

class TempFile {
 public:
  explicit TempFile(std::uint64_t bytes) : path_(testing::TempDir() + "ublkbench-XXXXXX") {
    fd_ = ::mkstemp(path_.data());
    EXPECT_GE(fd_, 0) << path_;
    EXPECT_EQ(::ftruncate(fd_, static_cast<off_t>(bytes)), 0);
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  ~TempFile() {
    ::close(fd_);
    ::unlink(path_.c_str());
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::vector<std::byte> read(std::uint64_t offset, std::size_t bytes) const {
    std::vector<std::byte> data(bytes);
    EXPECT_EQ(::pread(fd_, data.data(), bytes, static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes));
    return data;
  }
  void write(std::uint64_t offset, const std::vector<std::byte>& data) const {
    EXPECT_EQ(::pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(data.size()));
  }
  [[nodiscard]] std::uint64_t size() const {
    return static_cast<std::uint64_t>(::lseek(fd_, 0, SEEK_END));
  }
  void resize(std::uint64_t bytes) const {
    EXPECT_EQ(::ftruncate(fd_, static_cast<off_t>(bytes)), 0);
  }

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace ublkbench::test
