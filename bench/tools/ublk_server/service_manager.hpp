// SPDX-License-Identifier: MIT
// What a service manager is told, as sd_notify(3) describes it.
#pragma once

#include <string_view>

namespace ublkbench {

/// Sends "READY=1" or the like to $NOTIFY_SOCKET; nothing where there is none. That nobody listens
/// is no error: a device that serves is worth more than the message.
void tell_service_manager(std::string_view state);

}  // namespace ublkbench
