// SPDX-License-Identifier: MIT
// Where and in which units a verification works: its options, checked against the device.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/load/device.hpp"
#include "bench/load/verify.hpp"

namespace ublkbench::load {

struct VerifyPlan {
  Geometry geometry;
  std::vector<std::uint32_t> sizes;  // of I/Os in granules, rising

  [[nodiscard]] std::uint32_t largest() const { return sizes.back(); }
};

/// What is wrong with the options by themselves; ExitCode::usage.
Result<> validate(const VerifyOptions& options);
/// The sizes that fit the device; ExitCode::usage when the range does not.
Result<VerifyPlan> make_verify_plan(const VerifyOptions& options, const DeviceFacts& facts);

}  // namespace ublkbench::load
