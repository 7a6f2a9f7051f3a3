// SPDX-License-Identifier: MIT
// Control commands, waited for without a bound.
#pragma once

#include <cstdint>
#include <string>

namespace hanglab {

/// The command's result: 0 or -errno.
int control(std::uint32_t op, int id, void* buffer, std::uint16_t length, std::uint64_t data);

/// 'bad_server ctl NAME ID DATA': prints the result. Returns the exit code.
int control_verb(const std::string& name, int id, std::uint64_t data);

}  // namespace hanglab
