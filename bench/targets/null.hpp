// SPDX-License-Identifier: MIT
#pragma once

#include "bench/targets/target.hpp"

namespace ublkbench {

/// Completes every request at once and touches no data: what is left is the cost of ublk itself.
class NullTarget final : public SharedTarget {
 public:
  static constexpr std::uint64_t default_bytes = 250ULL << 30;

  explicit NullTarget(std::uint64_t bytes) : bytes_(bytes) {}

  [[nodiscard]] DeviceShape shape() const override {
    return {.bytes = bytes_, .discard = true, .write_zeroes = true};
  }

  [[nodiscard]] DataOwner data_owner() const override { return DataOwner::none; }

  void queue(const Request& request, const Data&, Chain& chain) noexcept override {
    chain.complete(static_cast<std::int32_t>(request.bytes));
  }

 private:
  std::uint64_t bytes_;
};

}  // namespace ublkbench
