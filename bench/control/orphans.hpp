// SPDX-License-Identifier: MIT
// Which devices may be removed without being asked for: those that are provably ours and whose
// server is provably gone. All others are named and left.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/control/control.hpp"
#include "bench/control/maker.hpp"

namespace ublkbench::control {

/// What is known of a device when it is judged.
struct DeviceFacts {
  std::uint64_t stamp = 0;  ///< ublksrv_flags
  /// Of the process that the stamp names; nothing where it names none.
  std::optional<MakerState> maker;
  bool watched = false;   ///< is_watched()
  std::string served_by;  ///< Process::text() of who has the char device open; empty: nobody seen
  bool waits = false;     ///< for another server, or is about to
};

struct Verdict {
  bool orphan = false;
  std::string why;
};

Verdict judge(const DeviceFacts& facts);

/// As the device is now. Under the device's lock it is not another program of this suite that
/// changes it.
Verdict look_at(const ublksrv_ctrl_dev_info& device);

struct Judged {
  int id = -1;
  Verdict verdict;
};

/// Every device that there is.
std::vector<Judged> judge_devices();

}  // namespace ublkbench::control
