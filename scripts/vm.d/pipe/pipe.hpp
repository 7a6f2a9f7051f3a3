// SPDX-License-Identifier: MIT
// Carries one command's output, exit code and signals between a guest and its host.
//
// One static binary has both ends: in the guest it is the first process (init.cpp puts the file
// systems together, guest.cpp runs the command), on the host it starts QEMU (host.cpp) with one end
// of a socket pair that QEMU ties to the guest's virtio-serial port. Everything travels as frames
// over that ONE port, so the exit code arrives after the last byte of output by construction.
// (Separate ports for stdout and stderr were rejected: a guest cannot tell when QEMU has passed on
// what it wrote, so a power-off loses the end of large outputs.)
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vm {

enum class FrameType : std::uint8_t {
  // from the guest
  started = 'S',  // the command is about to start
  out = 'O',
  err = 'E',
  exit = 'X',  // int32_t: the exit code, 128 + n for signal n
  // from the host
  input = 'I',
  window = 'W',  // uint16_t rows, columns
  signal = 'K',  // uint8_t
};

inline constexpr std::size_t payload_max = 32 * 1024 - 5;  // with its header, one write to a port

struct Frame {
  FrameType type;
  std::uint32_t size;
  std::array<std::uint8_t, payload_max> payload;
};

/// Puts frames together from what a descriptor has to give.
class FrameReader {
 public:
  enum class Outcome { partial, complete, end };
  /// One read() per call: whoever polled the descriptor never blocks here.
  Outcome read_from(int fd);
  [[nodiscard]] const Frame& frame() const { return frame_; }

 private:
  static constexpr std::size_t header_size = 5;
  std::array<std::uint8_t, header_size> header_{};
  std::size_t filled_ = 0;
  Frame frame_{};
};

struct Command {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string cwd;
  std::vector<std::string> shares;  // the host's folders, flushed before the exit code is sent
  bool interactive = false;
};

/// Says what failed and errno's text, and ends the process (the machine, if it is the first one).
[[noreturn]] void fail(const std::string& what);
double seconds_now();

/// Writes everything, unless there is an error or `stop` becomes non-zero.
bool write_all(int fd, const void* data, std::size_t size, const std::atomic<int>* stop = nullptr);
bool send_frame(int fd, FrameType type, const void* payload, std::uint32_t size);
/// The strings of a file in which each ends with a NUL.
std::vector<std::string> read_strings(const std::string& path);

int run_init();
[[noreturn]] void run_command(int port, const Command& command);
int run_host(int argc, char** argv);

}  // namespace vm
