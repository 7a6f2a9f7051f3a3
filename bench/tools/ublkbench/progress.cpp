// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/progress.hpp"

#include <unistd.h>

#include <cstdlib>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"

namespace ublkbench {
namespace {

/// In scripts/vm's guest stderr is a port, and the host says what is at its other end.
bool stderr_is_terminal() {
  const char* const vm = std::getenv("UBLKBENCH_STDERR_TTY");
  return vm != nullptr ? *vm == '1' : ::isatty(STDERR_FILENO) != 0;
}

std::string minutes(std::uint64_t ns) {
  const std::uint64_t seconds = ns / 1'000'000'000;
  return formatted("{}:{:02}", seconds / 60, seconds % 60);
}

}  // namespace

Progress::Progress(std::size_t total, std::uint64_t estimated_step_ns)
    : total_(total),
      estimated_step_ns_(estimated_step_ns),
      start_ns_(now_ns()),
      terminal_(stderr_is_terminal()) {}

Progress::~Progress() {
  if (open_line_) say_part("\r\x1b[K");
}

void Progress::begin(std::size_t number, const std::string& what) {
  number_ = number;
  what_ = what;
  if (!terminal_) return;
  const std::uint64_t elapsed_ns = now_ns() - start_ns_;
  const std::uint64_t step_ns = finished_ != 0 ? elapsed_ns / finished_ : estimated_step_ns_;
  say_part(formatted("\r\x1b[K[{}/{}] {}  elapsed {} left {}", number, total_, what,
                     minutes(elapsed_ns), minutes(step_ns * (total_ - number + 1))));
  open_line_ = true;
}

void Progress::end(const std::string& outcome) {
  ++finished_;
  if (terminal_) return;
  const std::uint64_t elapsed_ns = now_ns() - start_ns_;
  say("[{}/{}] {}  {}  elapsed {} left {}", number_, total_, what_, outcome, minutes(elapsed_ns),
      minutes(elapsed_ns / finished_ * (total_ - number_)));
}

void Progress::note(const std::string& text) {
  if (open_line_) say_part("\r\x1b[K");
  open_line_ = false;
  say("ublkbench: note: {}", text);
}

}  // namespace ublkbench
