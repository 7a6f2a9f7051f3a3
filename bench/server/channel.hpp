// SPDX-License-Identifier: MIT
// What a server process tells its supervisor: lines of JSON through a pipe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

class ChannelWriter {
 public:
  explicit ChannelWriter(Fd fd) : fd_(std::move(fd)) {}
  void ready();
  /// The process has let go of device `id` and goes on with others.
  void released(int id);
  void error(const Error& error);

 private:
  void line(const std::string& text);
  Fd fd_;
};

/// ready says nothing more than that it came.
struct Message {
  std::optional<int> released;
};

class ChannelReader {
 public:
  ChannelReader() = default;
  explicit ChannelReader(Fd fd) : fd_(std::move(fd)) {}

  /// Waits for the next message; with no time at all it takes what is there. error gives that
  /// error, a closed channel or `timeout_ns` without a message an error of its own.
  Result<Message> next(std::uint64_t timeout_ns);
  /// Whether next() has one already; its fd() says nothing of that.
  [[nodiscard]] bool has_message() const { return pending_.contains('\n'); }
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
