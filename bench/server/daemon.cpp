// SPDX-License-Identifier: MIT
#include "bench/server/daemon.hpp"

#include <algorithm>
#include <format>
#include <iterator>
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
                       .command = command_word(queue.device),
                       .queue_id = queue.id,
                       .tag = static_cast<std::uint16_t>(tag),
                       .queue = static_cast<std::uint16_t>(index)});
  }
  return slots;
}

std::vector<int> ring_files(const DaemonSetup& setup) {
  std::vector<int> files;
  for (const DeviceView& device : setup.devices) files.push_back(device.char_device);
  for (const DeviceView& device : setup.devices)
    std::ranges::copy(device.target->files(), std::back_inserter(files));
  return files;
}

unsigned most_steps(const DaemonSetup& setup) {
  unsigned most = 0;
  for (const DeviceView& device : setup.devices) most = std::max(most, device.target->max_steps());
  return most;
}

Result<> Lanes::open(const DaemonSetup& setup, DaemonRings& rings, std::span<IoSlot> slots,
                     Unparker& unparker, DaemonCounters& counters) {
  auto first_file = static_cast<int>(setup.devices.size());
  for (const DeviceView& device : setup.devices) {
    rings_.push_back(rings.chain_rings(first_file));
    first_file += static_cast<int>(device.target->files().size());
    auto lane =
        device.target->open_lane({.rings = rings_.back(),
                                  .slots = static_cast<std::uint32_t>(slots.size()),
                                  .max_bytes = setup.max_io_bytes,
                                  .unparker = &unparker,
                                  .index = setup.index,
                                  .completion_index = static_cast<std::uint32_t>(lanes_.size()),
                                  .tags = tags_of(slots),
                                  .append_sectors = setup.append_sectors.get(),
                                  .counters = &counters.target});
    if (!lane) return std::unexpected(lane.error());
    lanes_.push_back(*lane);
  }
  for (IoSlot& slot : slots) {
    const std::uint16_t device = setup.queues[slot.queue].device;
    slot.lane = lanes_[device];
    slot.rings = &rings_[device];
    slot.char_device = setup.devices[device].char_device;
    slot.block_shift = setup.devices[device].block_shift;
  }
  return {};
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
    case BufferMode::copy:
    case BufferMode::get_data:
    case BufferMode::user_copy:
    case BufferMode::shmem_zc:
      return Data::Place::memory;
  }
  std::unreachable();
}

Result<std::unique_ptr<Daemon>> make_daemon(const Mode& mode, DaemonSetup setup) {
  if (const auto why = unserved(mode))
    return unsupported(std::format("mode '{}': {}", mode.name(), *why));
  if (setup.devices.front().target->shape().zone_bytes != 0)
    return make_zoned_daemon(mode, std::move(setup));
  return mode.delivery == DeliveryMode::batch ? make_batch_daemon(mode, std::move(setup))
                                              : make_per_io_daemon(mode, std::move(setup));
}

}  // namespace ublkbench
