// SPDX-License-Identifier: MIT
// The driver's limit on devices, ublks_max, and how much of it is taken.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace ublkbench::control {

inline constexpr const char* device_limit_path = "/sys/module/ublk_drv/parameters/ublks_max";

/// Linux 6.3 to 6.14 count all devices, 6.15 and stable kernels with its patch the unprivileged
/// ones only (ublk_ctrl_add_dev); past the limit ADD_DEV of an unprivileged device answers EACCES.
struct DeviceLimit {
  std::size_t max = 0;
  std::size_t devices = 0;
  std::size_t unprivileged = 0;  ///< of the devices
  std::size_t unknown = 0;       ///< of the devices: this user may not ask what they are

  /// Whether it would explain an EACCES.
  [[nodiscard]] bool may_be_reached() const { return devices >= max; }
  [[nodiscard]] bool reached() const { return unprivileged >= max; }
  /// "ublks_max allows 64 unprivileged devices, and 64 devices exist, 60 of them unprivileged, ..."
  [[nodiscard]] std::string text() const;
};

/// Nothing where the driver has no such limit, or is not there.
std::optional<DeviceLimit> device_limit();

}  // namespace ublkbench::control
