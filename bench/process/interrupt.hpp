// SPDX-License-Identifier: MIT
// Whether the user wants this program to end, and how every wait learns of it.
#pragma once

#include <atomic>
#include <string_view>

#include "bench/base/result.hpp"

namespace ublkbench::process {

/// From here on SIGINT, SIGTERM and SIGHUP end waits, not the program; under nohup only the first
/// two.
void handle_interrupts();

/// Set by these signals, and never taken back.
bool interrupted();
const std::atomic<bool>& interrupt_flag();

/// Readable once interrupted; -1 where nobody handles interrupts.
int interrupt_fd();

/// While one lives, an interruption ends no wait: what takes things back, or would be lost halfway,
/// goes on to its end or its bound.
class Uninterrupted {
 public:
  Uninterrupted();
  ~Uninterrupted();
  Uninterrupted(const Uninterrupted&) = delete;
  Uninterrupted& operator=(const Uninterrupted&) = delete;
};

/// Whether a wait is to end now: interrupted, and not Uninterrupted.
bool waits_are_over();

/// "interrupted while waiting for ublk-probe", with the exit code of an interruption.
std::unexpected<Error> interruption(std::string_view waited_for);

/// Ends this process by the signal that interrupted it.
[[noreturn]] void die_of_interrupt();

/// In a child: what its parent was told is not for it, and its own waits wake nobody else.
void forget_interrupts();
/// In a child that is told by SIGTERM when it is to stop; Ctrl-C is its parent's business.
void stop_on_sigterm();
/// In a child that only SIGKILL ends.
void ignore_interrupts();

}  // namespace ublkbench::process
