// SPDX-License-Identifier: MIT
#include "bench/server/daemon.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/server/queue_daemon.hpp"

namespace ublkbench {

std::vector<IoSlot> make_slots(DaemonSetup& setup) {
  std::vector<QueueView>& queues = setup.queues;
  std::vector<IoSlot> slots;
  for (std::size_t index = 0; index < queues.size(); ++index) {
    QueueView& queue = queues[index];
    queue.first_slot = static_cast<std::uint32_t>(slots.size());
    const CommandWord command = setup.plain_files
                                    ? plain_command_word(setup.devices[queue.device].char_device)
                                    : command_word(queue.device);
    for (unsigned tag = queue.first_tag; tag < queue.depth; tag += queue.tag_step)
      slots.push_back({.descriptor = reinterpret_cast<const ublksrv_io_desc*>(
                           queue.descriptors + tag * queue.descriptor_bytes),
                       .buffer = queue.buffers + tag * queue.buffer_bytes,
                       .chain = {},
                       .command = command,
                       .queue_id = queue.id,
                       .tag = static_cast<std::uint16_t>(tag),
                       .queue = static_cast<std::uint16_t>(index)});
  }
  return slots;
}

std::size_t slot_count(const DaemonSetup& setup) {
  std::size_t slots = 0;
  for (const QueueView& queue : setup.queues)
    if (queue.first_tag < queue.depth)
      slots += (queue.depth - queue.first_tag + queue.tag_step - 1U) / queue.tag_step;
  return slots;
}

std::vector<int> ring_files(const DaemonSetup& setup) {
  std::vector<int> files;
  for (const DeviceView& device : setup.devices)
    files.push_back(setup.plain_files ? -1 : device.char_device);
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
                formatted("queue {} tag {}", slot.queue_id, slot.tag), -result,
                "the request's pages could not be put into, or taken out of, the ring's table")
      .error();
}

bool needs_buffers(const Mode& mode) { return mode.buffers().own_buffers; }

Data::Place data_place(const Mode& mode) {
  return mode.buffers().registered ? Data::Place::registered : Data::Place::memory;
}

Result<std::unique_ptr<Daemon>> make_daemon(const Mode& mode, DaemonSetup setup) {
  if (const auto why = unserved(mode))
    return unsupported(formatted("mode '{}': {}", mode.name(), *why));
  if (setup.devices.front().target->shape().zone_bytes != 0)
    return make_zoned_daemon(mode, std::move(setup));
  return mode.delivers().batch ? make_batch_daemon(mode, std::move(setup))
                               : make_per_io_daemon(mode, std::move(setup));
}

}  // namespace ublkbench
