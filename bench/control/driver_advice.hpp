// SPDX-License-Identifier: MIT
// What to do on a machine that has no ublk driver, or where it was not loaded.
#pragma once

#include <string>
#include <string_view>

namespace ublkbench::control {

/// How depmod's lists name a driver for a kernel.
enum class Installed : unsigned char { no, module, builtin };
Installed driver_installed(std::string_view driver, std::string_view release);

/// uname -r.
std::string kernel_release();

/// "the module is installed: 'modprobe ublk_drv' as root", or where the distribution keeps it.
/// `proc_version` is the content of /proc/version.
std::string load_advice(Installed installed, std::string_view release,
                        std::string_view proc_version);

/// For this machine, in three lines: load or install it, or run in a guest, or ask doctor.
std::string missing_driver_advice();

}  // namespace ublkbench::control
