// SPDX-License-Identifier: MIT
// The end of a device. DEL_DEV takes it away at once; its number is free when the last process that
// has one of its nodes open closes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/control/control.hpp"

namespace ublkbench::control {

/// Deletes the device and waits until its number is free again. EBUSY past the bound: it is
/// deleted, its number is not free, and the error says who keeps it.
Result<> remove(int id, std::uint64_t timeout_ns = default_timeout_ns);

/// Whether the device was deleted and processes still have it open.
bool is_going(int id);

/// Numbers of such devices, as far as they can be found: sysfs has them no more, and the driver
/// lists no numbers.
std::vector<int> going_ids();

/// "process 312 (fio) has /dev/ublkb0 open": why the number is not free.
std::string who_keeps(int id);

}  // namespace ublkbench::control
