// SPDX-License-Identifier: MIT
// How a daemon waits for completions, and how many fetch commands it keeps: choices of the server,
// not of the driver.
#pragma once

#include <cstdint>

namespace ublkbench {

/// How a task hands requests to another (placement offload) and is woken.
enum class WakeBy : std::uint8_t {
  eventfd,   ///< write() to an eventfd, which the other reads by a multishot read
  msg_ring,  ///< IORING_OP_MSG_RING
};

struct Waiting {
  /// Without anything to do, look again for this long before sleeping.
  std::uint32_t spin_us = 0;
  /// Completions to wait for at once; fewer are taken after `wait_us`.
  std::uint32_t count = 1;
  std::uint32_t wait_us = 50;
  WakeBy wake_by = WakeBy::eventfd;

  /// One io_uring_enter() that sleeps until the next completion.
  [[nodiscard]] bool plain() const { return spin_us == 0 && count <= 1; }

  friend bool operator==(const Waiting&, const Waiting&) = default;
};

/// The driver copies at most this many tags per completion (ublk_drv.c, MAX_NR_TAG).
inline constexpr unsigned most_fetch_tags = 128;

struct BatchOptions {
  unsigned fetches_per_queue = 1;  ///< FETCH_IO_CMDS that a daemon keeps in the driver for a queue
  unsigned fetch_tags = most_fetch_tags;  ///< tags that fit one buffer of a fetch

  friend bool operator==(const BatchOptions&, const BatchOptions&) = default;
};

}  // namespace ublkbench
