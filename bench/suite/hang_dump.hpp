// SPDX-License-Identifier: MIT
// What ublk-dump says of a sample that hangs, asked while the device still does.
#pragma once

#include <cstdint>
#include <string>

#include "bench/base/result.hpp"
#include "bench/record/sample_record.hpp"

namespace ublkbench {

struct HangDumpOptions {
  std::string program;  ///< path of ublk-dump; empty: find it; "off": do not ask
  std::uint64_t timeout_ns = 120'000'000'000;  ///< Python on an emulated CPU takes tens of seconds
  std::string prefix;  ///< of the recordings' paths; a number and ".xz" follow
};

/// Whether the program that was named can be run at all.
Result<> check_hang_dump(const HangDumpOptions& options);

/// Requests of the age `stuck_ns` are stuck, or of 2 s if that is less. Bounded; never
/// fails as a call, because a hang without a dump is still a hang.
HangDump dump_hang(const HangDumpOptions& options, int device, std::uint64_t stuck_ns);

/// The number of the ublk device behind a path; -1 if it is none.
int ublk_number(const std::string& block_device);

}  // namespace ublkbench
