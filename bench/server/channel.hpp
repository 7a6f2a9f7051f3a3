// SPDX-License-Identifier: MIT
// What a server process tells its supervisor: lines of JSON through a pipe.
#pragma once

#include <cstdint>
#include <string>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

class ChannelWriter {
 public:
  explicit ChannelWriter(Fd fd) : fd_(std::move(fd)) {}
  void ready();
  void error(const Error& error);

 private:
  void line(const std::string& text);
  Fd fd_;
};

class ChannelReader {
 public:
  ChannelReader() = default;
  explicit ChannelReader(Fd fd) : fd_(std::move(fd)) {}

  /// Waits for the next message. ready gives success, error gives that error, a closed channel or
  /// `timeout_ns` without a message an error of its own.
  Result<> next(std::uint64_t timeout_ns);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
  std::string pending_;
};

struct Channel {
  ChannelReader reader;
  ChannelWriter writer;
};
Result<Channel> make_channel();

}  // namespace ublkbench
