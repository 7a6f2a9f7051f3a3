// SPDX-License-Identifier: MIT
// A daemon's view of the queues and io commands that it serves.
#pragma once

#include "bench/control/uapi.hpp"

#include <cstdint>
#include <span>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/ring/chain.hpp"
#include "bench/server/commands.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

static_assert(static_cast<int>(Op::read) == UBLK_IO_OP_READ);
static_assert(static_cast<int>(Op::write) == UBLK_IO_OP_WRITE);
static_assert(static_cast<int>(Op::flush) == UBLK_IO_OP_FLUSH);
static_assert(static_cast<int>(Op::discard) == UBLK_IO_OP_DISCARD);
static_assert(static_cast<int>(Op::write_zeroes) == UBLK_IO_OP_WRITE_ZEROES);
static_assert(static_cast<int>(Op::zone_open) == UBLK_IO_OP_ZONE_OPEN);
static_assert(static_cast<int>(Op::zone_close) == UBLK_IO_OP_ZONE_CLOSE);
static_assert(static_cast<int>(Op::zone_finish) == UBLK_IO_OP_ZONE_FINISH);
static_assert(static_cast<int>(Op::zone_append) == UBLK_IO_OP_ZONE_APPEND);
static_assert(static_cast<int>(Op::zone_reset_all) == UBLK_IO_OP_ZONE_RESET_ALL);
static_assert(static_cast<int>(Op::zone_reset) == UBLK_IO_OP_ZONE_RESET);
static_assert(static_cast<int>(Op::report_zones) == UBLK_IO_OP_REPORT_ZONES);

/// One device that a daemon serves queues of.
struct DeviceView {
  std::uint16_t number = 0;  ///< which of the process's devices
  int char_device = -1;      ///< fd of /dev/ublkcN
  Target* target = nullptr;
  std::uint8_t block_shift = 9;  ///< of the device's logical blocks
};

/// One hardware queue as a daemon sees it. Slots of a daemon are numbered queue by queue; with all
/// tags, slot = first_slot + tag.
struct QueueView {
  std::uint16_t device = 0;  ///< index of the DeviceView, and of its file in the ring's table
  std::uint16_t id = 0;
  std::uint16_t depth = 0;
  std::uint32_t first_slot = 0;
  const std::byte* descriptors = nullptr;  ///< mapped from /dev/ublkcN, written by the driver
  std::size_t descriptor_bytes = sizeof(ublksrv_io_desc);  ///< from one to the next
  std::byte* buffers = nullptr;  ///< `depth` buffers, or nullptr without copies
  std::size_t buffer_bytes = 0;
  std::uint16_t first_tag = 0;  ///< this daemon's tags: first_tag, first_tag + tag_step...
  std::uint16_t tag_step = 1;   ///< above 1 where daemons share the queue's tags
  bool introduce = true;        ///< batch: this daemon sends PREP_IO_CMDS for the queue
};

/// One io command, from FETCH to COMMIT, and all that serving it needs to know of its device: a
/// daemon of many devices does no more for each request than that of one. It fills a cache line.
struct alignas(64) IoSlot {
  const ublksrv_io_desc* descriptor = nullptr;
  std::byte* buffer = nullptr;
  ChainState chain;
  TargetLane* lane = nullptr;         ///< of the device's target
  const ChainRings* rings = nullptr;  ///< and where that target's files are in their tables
  CommandWord command = command_word(0);
  std::uint16_t queue_id = 0;
  std::uint16_t tag = 0;
  std::uint16_t queue = 0;       ///< index of the QueueView in this daemon
  std::uint8_t block_shift = 9;  ///< of the device's logical blocks
  int char_device = -1;          ///< fd of the device's /dev/ublkcN
};
static_assert(sizeof(IoSlot) == 64);

/// What LaneSetup::tags says of these slots.
inline std::vector<IoTag> tags_of(std::span<const IoSlot> slots) {
  std::vector<IoTag> tags;
  for (const IoSlot& slot : slots) tags.push_back({.queue = slot.queue_id, .tag = slot.tag});
  return tags;
}

inline bool carries_data(Op op) { return op == Op::read || op == Op::write; }

/// The request of a delivered io command. The descriptor is stable until the commit.
inline Request read_request(const ublksrv_io_desc& descriptor) {
  return {.op = static_cast<Op>(descriptor.op_flags & 0xff),
          .fua = (descriptor.op_flags & UBLK_IO_F_FUA) != 0,
          .bytes = descriptor.nr_sectors << 9,
          .offset = descriptor.start_sector << 9};
}

}  // namespace ublkbench
