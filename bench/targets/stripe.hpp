// SPDX-License-Identifier: MIT
// RAID 0 over files and block devices.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "bench/targets/backing_file.hpp"
#include "bench/targets/stripe_map.hpp"

namespace ublkbench {

struct StripeSpec {
  std::vector<std::string> paths;
  std::uint64_t chunk_bytes = 64 << 10;
};

/// Parses "PATH,PATH[,...][:chunk=SIZE]".
Result<StripeSpec> parse_stripe(std::string_view argument);

class StripeTarget final : public Target {
 public:
  static Result<std::unique_ptr<Target>> make(const StripeSpec& spec, const TargetUse& use);

  [[nodiscard]] DeviceShape shape() const override { return shape_; }
  [[nodiscard]] DataOwner data_owner() const override { return DataOwner::user; }
  [[nodiscard]] std::string data_layout() const override;
  [[nodiscard]] std::vector<std::string> paths() const override;
  [[nodiscard]] std::vector<int> files() const override;
  [[nodiscard]] unsigned max_steps() const override { return map_.members(); }
  [[nodiscard]] Result<> pollable(Data::Place) const override;
  Result<TargetLane*> open_lane(const LaneSetup& setup) override;

 private:
  StripeTarget(std::vector<BackingFile> members, const StripeMap& map);

  std::vector<BackingFile> members_;
  StripeMap map_;
  DeviceShape shape_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<TargetLane>> lanes_;
};

}  // namespace ublkbench
