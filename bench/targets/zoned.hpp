// SPDX-License-Identifier: MIT
// A host-managed zoned device in memory.
#pragma once

#include <mutex>
#include <string_view>

#include "bench/base/fd.hpp"
#include "bench/targets/target.hpp"
#include "bench/targets/zone_states.hpp"

namespace ublkbench {

/// Parses "SIZE[:zone=SIZE][,capacity=SIZE][,conventional=N][,max_open=N][,max_active=N]".
Result<ZoneLayout> parse_zoned(std::string_view argument);

/// Data and the zones' reports are in one memfd: data first, then a blk_zone for each zone. So a
/// report into a registered buffer, which no process can address, is one read of that file.
class ZonedTarget final : public Target {
 public:
  static Result<std::unique_ptr<Target>> make(const ZoneLayout& layout);

  [[nodiscard]] DeviceShape shape() const override;
  [[nodiscard]] DataOwner data_owner() const override { return DataOwner::run; }
  [[nodiscard]] std::vector<int> files() const override { return {file_.get()}; }
  [[nodiscard]] Result<> pollable(Data::Place place) const override;
  Result<TargetLane*> open_lane(const LaneSetup& setup) override;

  // What the lanes share.
  [[nodiscard]] const ZoneLayout& layout() const { return layout_; }
  [[nodiscard]] ZoneStates& zones() { return *zones_; }
  [[nodiscard]] std::byte* memory() const { return storage_.data(); }
  [[nodiscard]] std::uint64_t data_bytes() const { return layout_.zones * layout_.zone_bytes; }

 private:
  ZonedTarget(const ZoneLayout& layout, Fd file, Mapping storage);

  ZoneLayout layout_;
  Fd file_;
  Mapping storage_;
  std::unique_ptr<ZoneStates> zones_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<TargetLane>> lanes_;
};

}  // namespace ublkbench
