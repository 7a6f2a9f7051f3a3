// SPDX-License-Identifier: MIT
// Puts faults in front of any target.
#pragma once

#include <atomic>
#include <mutex>

#include "bench/targets/fault_spec.hpp"
#include "bench/targets/volatile_cache.hpp"

namespace ublkbench {

class FaultTarget final : public Target {
 public:
  static Result<std::unique_ptr<Target>> make(std::unique_ptr<Target> below, FaultSpec spec);

  [[nodiscard]] DeviceShape shape() const override;
  [[nodiscard]] DataOwner data_owner() const override { return below_->data_owner(); }
  [[nodiscard]] std::string data_layout() const override { return below_->data_layout(); }
  [[nodiscard]] std::vector<std::string> paths() const override { return below_->paths(); }
  [[nodiscard]] std::vector<int> files() const override;
  [[nodiscard]] unsigned max_steps() const override { return below_->max_steps() + 1; }
  [[nodiscard]] Result<> pollable(Data::Place place) const override;
  Result<TargetLane*> open_lane(const LaneSetup& setup) override;

  // What the lanes share.
  [[nodiscard]] const FaultSpec& spec() const { return spec_; }
  [[nodiscard]] VolatileCache* cache() { return cache_.get(); }
  /// Counts one request; the one that the server dies at does not come back from here.
  void count_request();
  /// Takes `bytes` of the bandwidth; how long until they are through.
  std::uint64_t take_bandwidth_ns(std::uint32_t bytes);

 private:
  FaultTarget(std::unique_ptr<Target> below, FaultSpec spec)
      : below_(std::move(below)), spec_(std::move(spec)) {}

  std::unique_ptr<Target> below_;
  FaultSpec spec_;
  std::unique_ptr<VolatileCache> cache_;
  std::atomic<std::uint64_t> requests_ = 0;
  std::atomic<std::uint64_t> bandwidth_free_at_ns_ = 0;
  std::mutex mutex_;
  std::vector<std::unique_ptr<TargetLane>> lanes_;
};

}  // namespace ublkbench
