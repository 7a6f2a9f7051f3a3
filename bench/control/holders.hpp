// SPDX-License-Identifier: MIT
// Which processes have a device's nodes open, as far as /proc shows: who serves it, who uses it,
// whom its removal waits for. Never blocks.
#pragma once

#include <sys/types.h>
#include "bench/control/uapi.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench::control {

struct Process {
  pid_t pid = -1;
  std::string name;  ///< its comm

  /// "process 312 (ublk-d0)"
  [[nodiscard]] std::string text() const;
};

/// Those that have /dev/ublkcN open, removed or not.
std::vector<Process> char_device_holders(int id);

/// Those that have /dev/ublkbN or a partition of it open, removed or not.
std::vector<Process> block_device_openers(int id);

/// Those that have /dev/ublk-control open.
std::vector<Process> control_node_holders();

/// Numbers of devices whose nodes were removed while somebody has them open.
std::vector<int> ids_of_removed_nodes();

/// Whether a process that is not found does not exist: we may look into all of this machine's.
bool sees_every_process();

struct ServerProcess {
  enum class Known : std::uint8_t {
    found,    ///< it has /dev/ublkcN open
    none,     ///< nobody has
    unknown,  ///< none that we can see has
  };
  Known known = Known::unknown;
  Process process;

  /// Its number, or -1: what GET_DEV_INFO says where there is none.
  [[nodiscard]] pid_t pid() const { return known == Known::found ? process.pid : -1; }
  /// "312 (ublk-server)", "none" or "unknown".
  [[nodiscard]] std::string text() const;
  [[nodiscard]] bool found() const { return known == Known::found; }
};

/// The process that serves the device. GET_DEV_INFO's ublksrv_pid is a hint only: before Linux 7.0
/// it is what the server called itself, in its own PID namespace, and it outlives the process.
ServerProcess server_process(const ublksrv_ctrl_dev_info& device);

/// SIGKILL to that process, and to no other that has its number by now; nothing where none is seen.
Result<std::optional<Process>> kill_holder(const ublksrv_ctrl_dev_info& device);

}  // namespace ublkbench::control
