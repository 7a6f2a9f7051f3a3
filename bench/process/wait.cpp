// SPDX-License-Identifier: MIT
#include "bench/process/wait.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "bench/base/clock.hpp"
#include "bench/process/interrupt.hpp"

namespace ublkbench::process {
namespace {

constexpr std::uint64_t first_pause_ns = 100'000;
constexpr std::uint64_t longest_pause_ns = 2'000'000;
constexpr std::uint64_t longest_poll_ns = 60'000'000'000;

/// Waits for input on `fd`, which may be -1, for an interruption or for `time_ns`. Whether `fd` has
/// some, or ended.
bool poll_for(int fd, std::uint64_t time_ns) {
  std::array<pollfd, 2> files{
      pollfd{.fd = fd, .events = POLLIN, .revents = 0},
      // poll() passes over a descriptor below zero. One that cannot end the wait would only keep
      // it from sleeping.
      pollfd{.fd = interrupted() ? -1 : interrupt_fd(), .events = POLLIN, .revents = 0}};
  time_ns = std::min(time_ns, longest_poll_ns);
  const timespec timeout{.tv_sec = static_cast<time_t>(time_ns / 1'000'000'000),
                         .tv_nsec = static_cast<long>(time_ns % 1'000'000'000)};
  return ::ppoll(files.data(), files.size(), &timeout, nullptr) > 0 && files[0].revents != 0;
}

}  // namespace

std::uint64_t deadline_after(std::uint64_t time_ns) {
  const std::uint64_t now = now_ns();
  return time_ns > no_deadline_ns - now ? no_deadline_ns : now + time_ns;
}

Result<> wait_until(std::string_view what, std::uint64_t deadline_ns,
                    const std::function<bool()>& ready, std::string_view hint) {
  for (std::uint64_t pause_ns = first_pause_ns; !ready();
       pause_ns = std::min(2 * pause_ns, longest_pause_ns)) {
    if (waits_are_over()) return interruption(what);
    if (now_ns() >= deadline_ns) return failed("wait for", what, ETIMEDOUT, hint);
    (void)poll_for(-1, pause_ns);
  }
  return {};
}

Result<> wait_readable(int fd, std::string_view what, std::uint64_t deadline_ns) {
  for (;;) {
    const std::uint64_t now = now_ns();
    // What is there already is taken, however late it is.
    if (poll_for(fd, waits_are_over() ? 0 : deadline_ns - std::min(deadline_ns, now))) return {};
    if (waits_are_over()) return interruption(what);
    if (now >= deadline_ns) return failed("wait for", what, ETIMEDOUT);
  }
}

Result<> read_to_end(int fd, std::string& text, std::string_view what, std::uint64_t deadline_ns) {
  std::array<char, 65536> part;
  for (;;) {
    if (auto ready = wait_readable(fd, what, deadline_ns); !ready) return ready;
    const ssize_t count = ::read(fd, part.data(), part.size());
    if (count == 0) return {};
    if (count < 0 && errno != EINTR && errno != EAGAIN) return failed("read from", what, errno);
    if (count > 0) text.append(part.data(), static_cast<std::size_t>(count));
  }
}

bool write_fully(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

Result<Pipe> make_pipe(std::string_view what) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("pipe", what, errno);
  return Pipe{.reader = Fd(ends[0]), .writer = Fd(ends[1])};
}

}  // namespace ublkbench::process
