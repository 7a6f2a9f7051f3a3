// SPDX-License-Identifier: MIT
#include "bench/control/device_limit.hpp"

#include <fstream>

#include "bench/base/format.hpp"
#include "bench/control/control.hpp"

namespace ublkbench::control {

std::string DeviceLimit::text() const {
  std::string kinds = formatted("{} of them unprivileged", unprivileged);
  if (unknown != 0) kinds += formatted(", {} that this user may not ask about", unknown);
  return formatted(
      "ublks_max is {}, and {} device(s) exist, {}; before Linux 6.15 all of them count", max,
      devices, kinds);
}

std::optional<DeviceLimit> device_limit() {
  DeviceLimit limit;
  if (!(std::ifstream(device_limit_path) >> limit.max)) return std::nullopt;
  for (const int id : device_ids()) {
    ++limit.devices;
    const auto device = info(id);
    if (!device)
      ++limit.unknown;
    else if ((device->flags & UBLK_F_UNPRIVILEGED_DEV) != 0)
      ++limit.unprivileged;
  }
  return limit;
}

}  // namespace ublkbench::control
