// SPDX-License-Identifier: MIT
#include "bench/server/daemon.hpp"

#include <format>
#include <utility>

#include "bench/server/queue_daemon.hpp"

namespace ublkbench {

std::vector<IoSlot> make_slots(std::vector<QueueView>& queues) {
  std::vector<IoSlot> slots;
  for (std::size_t index = 0; index < queues.size(); ++index) {
    QueueView& queue = queues[index];
    queue.first_slot = static_cast<std::uint32_t>(slots.size());
    for (unsigned tag = queue.first_tag; tag < queue.depth; tag += queue.tag_step)
      slots.push_back({.descriptor = reinterpret_cast<const ublksrv_io_desc*>(
                           queue.descriptors + tag * queue.descriptor_bytes),
                       .buffer = queue.buffers + tag * queue.buffer_bytes,
                       .chain = {},
                       .queue_id = queue.id,
                       .tag = static_cast<std::uint16_t>(tag),
                       .queue = static_cast<std::uint16_t>(index)});
  }
  return slots;
}

Result<TargetLane*> open_lane(const DaemonSetup& setup, DaemonRings& rings,
                              std::span<const IoSlot> slots, Unparker& unparker,
                              DaemonCounters& counters) {
  return setup.target->open_lane({.rings = rings.chain_rings(),
                                  .slots = static_cast<std::uint32_t>(slots.size()),
                                  .max_bytes = setup.max_io_bytes,
                                  .unparker = &unparker,
                                  .index = setup.index,
                                  .tags = tags_of(slots),
                                  .append_sectors = setup.append_sectors.get(),
                                  .counters = &counters.target});
}

Error buffer_command_error(const IoSlot& slot, std::int32_t result) {
  return failed("REGISTER_IO_BUF or UNREGISTER_IO_BUF of",
                std::format("queue {} tag {}", slot.queue_id, slot.tag), -result,
                "the request's pages could not be put into, or taken out of, the ring's table")
      .error();
}

bool needs_buffers(const Mode& mode) {
  return mode.buffer != BufferMode::zc && mode.buffer != BufferMode::auto_zc;
}

Data::Place data_place(const Mode& mode) {
  switch (mode.buffer) {
    case BufferMode::zc:
    case BufferMode::auto_zc:
    case BufferMode::mixed:
      return Data::Place::registered;
    default:
      return Data::Place::memory;
  }
}

Result<std::unique_ptr<Daemon>> make_daemon(const Mode& mode, DaemonSetup setup) {
  if (const auto why = unserved(mode))
    return unsupported(std::format("mode '{}': {}", mode.name(), *why));
  if (setup.target->shape().zone_bytes != 0) return make_zoned_daemon(mode, std::move(setup));
  return mode.delivery == DeliveryMode::batch ? make_batch_daemon(mode, std::move(setup))
                                              : make_per_io_daemon(mode, std::move(setup));
}

}  // namespace ublkbench
