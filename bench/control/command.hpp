// SPDX-License-Identifier: MIT
// One control command: what is sent, and how it is sent with a bound.
#pragma once

#include "bench/control/uapi.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench::control {

struct Command {
  std::uint32_t op;              ///< UBLK_U_CMD_*
  std::string name;              ///< for errors: "START_DEV"
  ublksrv_ctrl_cmd header{};     ///< addr and len are filled from `payload`
  std::span<std::byte> payload;  ///< in and out
  /// Sent in front of the payload for an unprivileged device: whoever may read and write this node
  /// may send the command (ublk_ctrl_uring_cmd_permission). Empty for all other devices.
  std::string device_path;
};

inline constexpr const char* control_path = "/dev/ublk-control";

/// The driver's control node; the error names a missing driver or permission.
Result<Fd> open_control();

/// Which ring a command goes through; `polling` for a ring with IORING_SETUP_IOPOLL.
enum class RingKind : std::uint8_t { plain, polling };

/// Issues the command in this process; for the four commands that never sleep in the driver.
Result<int> issue_inline(const Command& command, RingKind kind = RingKind::plain);

/// Issues the command from a child and waits at most `timeout_ns`. The payload is copied back.
Result<int> issue_bounded(const Command& command, std::uint64_t timeout_ns);

}  // namespace ublkbench::control
