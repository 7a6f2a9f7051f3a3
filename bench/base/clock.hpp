// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <ctime>

namespace ublkbench {

/// CLOCK_MONOTONIC in nanoseconds. Under QEMU's -icount this is instructions times 2^shift.
inline std::uint64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(time.tv_nsec);
}

}  // namespace ublkbench
