// SPDX-License-Identifier: MIT
// Who made a device, in the 64 bits that the driver keeps for user space (ublksrv_flags), and
// whether that process still lives. A pid alone says neither: it comes round again, and another
// PID namespace has the same numbers.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

namespace ublkbench::control {

struct Stamp {
  static constexpr unsigned pid_bits = 22;  ///< pid_max is at most 1 << 22
  static constexpr unsigned space_bits = 15;
  static constexpr unsigned start_bits = 10;

  pid_t pid = 0;
  /// The lowest bits of the PID namespace's number, 0 where it is not known. The kernel hands these
  /// numbers out one by one (proc_alloc_inum()), so that two namespaces of one time differ in them.
  std::uint32_t space = 0;
  std::uint32_t start = 0;  ///< of the process's start time, 0 where it is not known
  bool kept = false;        ///< stays on purpose when its server ended

  friend bool operator==(const Stamp&, const Stamp&) = default;
};

std::uint64_t encode(const Stamp& stamp);

/// Nothing for what another program wrote, or an earlier version of this one.
std::optional<Stamp> decode(std::uint64_t bits);

/// What versions before this one wrote: a magic number and a pid.
std::optional<pid_t> earlier_stamp(std::uint64_t bits);

/// This process's.
Stamp own_stamp(bool kept = false);

enum class MakerState : std::uint8_t {
  alive,
  dead,
  elsewhere,  ///< of another PID namespace, from which we cannot see it
};

/// Errs on the side of life: without /proc of our own namespace every process with that pid counts.
MakerState state_of(const Stamp& maker);

/// Of a process that we can see, in clock ticks since boot; nothing of one that ended (a zombie
/// has).
std::optional<std::uint64_t> start_time(pid_t pid);

}  // namespace ublkbench::control
