// SPDX-License-Identifier: MIT
// The zones of a host-managed device: conditions, write pointers, and how many may be open or
// active. Knows no data. All lanes use it, so every call takes its lock.
#pragma once

#include <linux/blkzoned.h>

#include <cstdint>
#include <mutex>
#include <span>

namespace ublkbench {

struct ZoneLayout {
  std::uint64_t zone_bytes = 16 << 20;  ///< a power of two (block/blk-zoned.c)
  std::uint64_t capacity_bytes = 0;     ///< writable bytes of a zone; 0: all
  std::uint32_t zones = 0;
  std::uint32_t conventional = 0;  ///< the first zones, which take writes anywhere
  std::uint32_t max_open = 0;      ///< 0: no limit
  std::uint32_t max_active = 0;    ///< open or closed; 0: no limit
};

class ZoneStates {
 public:
  /// Results are 0 or a negative errno: -EIO for what the zone's condition forbids, -ETOOMANYREFS
  /// and -EOVERFLOW for too many open or active zones, as the block layer spells them
  /// (block/blk-core.c, blk_errors).
  using Outcome = std::int32_t;

  /// Keeps its state in `zones`, as the report that a client gets; one entry a zone.
  ZoneStates(const ZoneLayout& layout, std::span<blk_zone> zones);

  /// A write of `bytes` at `offset` begins.
  Outcome write(std::uint64_t offset, std::uint64_t bytes);
  /// An append to the zone that starts at `offset`; on success `position` is where it goes.
  Outcome append(std::uint64_t offset, std::uint64_t bytes, std::uint64_t& position);
  Outcome open(std::uint64_t offset);
  Outcome close(std::uint64_t offset);
  Outcome finish(std::uint64_t offset);
  Outcome reset(std::uint64_t offset);
  void reset_all();

  /// Copies the reports of zones from the one at `offset` on; how many.
  std::uint32_t report(std::uint64_t offset, std::span<blk_zone> reports);
  /// Zones from the one at `offset` on, `limit` at most.
  [[nodiscard]] std::uint32_t zones_from(std::uint64_t offset, std::uint64_t limit) const;

 private:
  blk_zone& zone_at(std::uint64_t offset) { return zones_[offset / layout_.zone_bytes]; }
  Outcome take(blk_zone& zone, std::uint64_t sectors);
  Outcome make_open(blk_zone& zone, blk_zone_cond condition);
  bool close_an_implicitly_open_zone();
  void set_condition(blk_zone& zone, blk_zone_cond condition);
  void empty(blk_zone& zone);

  ZoneLayout layout_;
  std::span<blk_zone> zones_;
  std::mutex mutex_;
  std::uint32_t implicitly_open_ = 0;
  std::uint32_t explicitly_open_ = 0;
  std::uint32_t closed_ = 0;
  std::uint32_t next_to_close_ = 0;
};

}  // namespace ublkbench
