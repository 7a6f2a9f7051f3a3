// SPDX-License-Identifier: MIT
#include "bench/targets/zone_states.hpp"

#include <algorithm>
#include <cerrno>

namespace ublkbench {
namespace {

constexpr unsigned sector_shift = 9;

blk_zone_cond condition_of(const blk_zone& zone) { return static_cast<blk_zone_cond>(zone.cond); }

bool sequential(const blk_zone& zone) { return zone.type == BLK_ZONE_TYPE_SEQWRITE_REQ; }

bool is_open(const blk_zone& zone) {
  return zone.cond == BLK_ZONE_COND_IMP_OPEN || zone.cond == BLK_ZONE_COND_EXP_OPEN;
}

}  // namespace

ZoneStates::ZoneStates(const ZoneLayout& layout, std::span<blk_zone> zones)
    : layout_(layout), zones_(zones) {
  const std::uint64_t zone_sectors = layout.zone_bytes >> sector_shift;
  for (std::uint32_t number = 0; number < layout.zones; ++number) {
    const bool conventional = number < layout.conventional;
    blk_zone& zone = zones_[number] = {};
    zone.start = number * zone_sectors;
    zone.len = zone_sectors;
    zone.wp = conventional ? zone.start + zone.len : zone.start;
    zone.type = conventional ? BLK_ZONE_TYPE_CONVENTIONAL : BLK_ZONE_TYPE_SEQWRITE_REQ;
    zone.cond = conventional ? BLK_ZONE_COND_NOT_WP : BLK_ZONE_COND_EMPTY;
    zone.capacity = conventional || layout.capacity_bytes == 0
                        ? zone_sectors
                        : layout.capacity_bytes >> sector_shift;
  }
}

ZoneStates::Outcome ZoneStates::write(std::uint64_t offset, std::uint64_t bytes) {
  blk_zone& zone = zone_at(offset);
  if (!sequential(zone)) return 0;
  const std::scoped_lock lock(mutex_);
  if (offset >> sector_shift != zone.wp) return -EIO;
  return take(zone, bytes >> sector_shift);
}

ZoneStates::Outcome ZoneStates::append(std::uint64_t offset, std::uint64_t bytes,
                                       std::uint64_t& position) {
  blk_zone& zone = zone_at(offset);
  const std::scoped_lock lock(mutex_);
  if (!sequential(zone) || offset >> sector_shift != zone.start) return -EIO;
  position = zone.wp << sector_shift;
  return take(zone, bytes >> sector_shift);
}

/// The next `sectors` of the zone, which opens it and may fill it.
ZoneStates::Outcome ZoneStates::take(blk_zone& zone, std::uint64_t sectors) {
  if (zone.cond == BLK_ZONE_COND_FULL) return -EIO;
  if (zone.wp + sectors > zone.start + zone.capacity) return -EIO;
  if (!is_open(zone))
    if (const Outcome opened = make_open(zone, BLK_ZONE_COND_IMP_OPEN); opened != 0) return opened;
  zone.wp += sectors;
  if (zone.wp == zone.start + zone.capacity) {
    set_condition(zone, BLK_ZONE_COND_FULL);
    zone.wp = zone.start + zone.len;
  }
  return 0;
}

ZoneStates::Outcome ZoneStates::make_open(blk_zone& zone, blk_zone_cond condition) {
  const std::uint32_t active = implicitly_open_ + explicitly_open_ + closed_;
  if (zone.cond == BLK_ZONE_COND_EMPTY && layout_.max_active != 0 && active >= layout_.max_active)
    return -EOVERFLOW;
  if (!is_open(zone) && layout_.max_open != 0 &&
      implicitly_open_ + explicitly_open_ >= layout_.max_open && !close_an_implicitly_open_zone())
    return -ETOOMANYREFS;
  set_condition(zone, condition);
  return 0;
}

/// As devices do when they need room: in turn, so that no zone is always the victim.
bool ZoneStates::close_an_implicitly_open_zone() {
  if (implicitly_open_ == 0) return false;
  while (zones_[next_to_close_].cond != BLK_ZONE_COND_IMP_OPEN)
    next_to_close_ = (next_to_close_ + 1) % layout_.zones;
  set_condition(zones_[next_to_close_], BLK_ZONE_COND_CLOSED);
  return true;
}

void ZoneStates::set_condition(blk_zone& zone, blk_zone_cond condition) {
  const auto count_of = [this](blk_zone_cond one) -> std::uint32_t* {
    if (one == BLK_ZONE_COND_IMP_OPEN) return &implicitly_open_;
    if (one == BLK_ZONE_COND_EXP_OPEN) return &explicitly_open_;
    if (one == BLK_ZONE_COND_CLOSED) return &closed_;
    return nullptr;
  };
  if (std::uint32_t* const count = count_of(condition_of(zone))) --*count;
  if (std::uint32_t* const count = count_of(condition)) ++*count;
  zone.cond = static_cast<std::uint8_t>(condition);
}

ZoneStates::Outcome ZoneStates::open(std::uint64_t offset) {
  blk_zone& zone = zone_at(offset);
  const std::scoped_lock lock(mutex_);
  if (!sequential(zone) || zone.cond == BLK_ZONE_COND_FULL) return -EIO;
  return make_open(zone, BLK_ZONE_COND_EXP_OPEN);
}

ZoneStates::Outcome ZoneStates::close(std::uint64_t offset) {
  blk_zone& zone = zone_at(offset);
  const std::scoped_lock lock(mutex_);
  if (!sequential(zone)) return -EIO;
  if (zone.cond == BLK_ZONE_COND_CLOSED) return 0;
  if (!is_open(zone)) return -EIO;
  set_condition(zone, zone.wp == zone.start ? BLK_ZONE_COND_EMPTY : BLK_ZONE_COND_CLOSED);
  return 0;
}

ZoneStates::Outcome ZoneStates::finish(std::uint64_t offset) {
  blk_zone& zone = zone_at(offset);
  const std::scoped_lock lock(mutex_);
  if (!sequential(zone)) return -EIO;
  if (zone.cond == BLK_ZONE_COND_FULL) return 0;
  // A zone is open for a moment while it is finished.
  if (const Outcome opened = make_open(zone, BLK_ZONE_COND_EXP_OPEN); opened != 0) return opened;
  set_condition(zone, BLK_ZONE_COND_FULL);
  zone.wp = zone.start + zone.len;
  return 0;
}

void ZoneStates::empty(blk_zone& zone) {
  set_condition(zone, BLK_ZONE_COND_EMPTY);
  zone.wp = zone.start;
}

ZoneStates::Outcome ZoneStates::reset(std::uint64_t offset) {
  blk_zone& zone = zone_at(offset);
  const std::scoped_lock lock(mutex_);
  if (!sequential(zone)) return -EIO;
  empty(zone);
  return 0;
}

void ZoneStates::reset_all() {
  const std::scoped_lock lock(mutex_);
  for (blk_zone& zone : zones_)
    if (sequential(zone)) empty(zone);
}

std::uint32_t ZoneStates::zones_from(std::uint64_t offset, std::uint64_t limit) const {
  const std::uint64_t first = offset / layout_.zone_bytes;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(
      limit, layout_.zones - std::min<std::uint64_t>(first, layout_.zones)));
}

std::uint32_t ZoneStates::report(std::uint64_t offset, std::span<blk_zone> reports) {
  const std::uint32_t count = zones_from(offset, reports.size());
  const std::scoped_lock lock(mutex_);
  std::ranges::copy(zones_.subspan(offset / layout_.zone_bytes, count), reports.begin());
  return count;
}

}  // namespace ublkbench
