// SPDX-License-Identifier: MIT
// Composes a daemon for one delivery: the table of data paths, and the two placements. Included by
// the two translation units that each compile one delivery.
#pragma once

#include "bench/server/data_paths/auto_zero_copy.hpp"
#include "bench/server/data_paths/copy.hpp"
#include "bench/server/data_paths/get_data.hpp"
#include "bench/server/data_paths/mixed.hpp"
#include "bench/server/data_paths/shared_memory.hpp"
#include "bench/server/data_paths/user_copy.hpp"
#include "bench/server/data_paths/user_copy_metadata.hpp"
#include "bench/server/data_paths/zero_copy.hpp"
#include "bench/server/offload_daemon.hpp"
#include "bench/server/queue_daemon.hpp"

namespace ublkbench::composition {

template <template <DataPath> class DeliveryOf, DataPath Path>
Result<std::unique_ptr<Daemon>> make_with_path(const Mode& mode, DaemonSetup setup, Path path) {
  std::vector<IoSlot> slots = make_slots(setup);
  const auto count = static_cast<unsigned>(slots.size());
  const unsigned commands = DeliveryOf<Path>::commands(setup.queues, count, setup.batch);
  // Besides the target's steps: REGISTER and UNREGISTER, which a data path may queue.
  const unsigned steps = count * (most_steps(setup) + (Path::releases_early ? 2 : 0));
  RingNeeds needs{.files = ring_files(setup),
                  .commands = commands,
                  .steps = steps,
                  .buffer_slots = Path::table_slots * count};
  if (mode.placement != PlacementMode::offload) {
    auto rings = DaemonRings::create(mode.reaps(), needs);
    if (!rings) return std::unexpected(rings.error());
    return std::make_unique<QueueDaemon<DeliveryOf, Path>>(std::move(*rings), std::move(setup),
                                                           std::move(slots), path);
  }
  auto rings =
      DaemonRings::create(ReapTraits(), {.files = ring_files(setup), .commands = commands + 8});
  if (!rings) return std::unexpected(rings.error());
  needs.commands = 8;  // the wakeup's
  return std::make_unique<OffloadDaemon<DeliveryOf, Path>>(std::move(*rings), std::move(setup),
                                                           std::move(slots), path, needs);
}

inline RotatingAutoZeroCopyPath rotating_path(DaemonSetup& setup) {
  return RotatingAutoZeroCopyPath(static_cast<std::uint32_t>(make_slots(setup).size()));
}

template <template <DataPath> class DeliveryOf>
Result<std::unique_ptr<Daemon>> make(const Mode& mode, DaemonSetup setup) {
  switch (mode.buffer) {
    case BufferMode::copy:
      return make_with_path<DeliveryOf>(mode, std::move(setup), CopyPath{});
    case BufferMode::get_data:
      return make_with_path<DeliveryOf>(mode, std::move(setup), GetDataPath{});
    case BufferMode::user_copy:
      if (setup.metadata != nullptr) {
        const UserCopyMetadataPath path(setup.metadata, setup.max_io_bytes);
        return make_with_path<DeliveryOf>(mode, std::move(setup), path);
      }
      return make_with_path<DeliveryOf>(mode, std::move(setup), UserCopyPath{});
    case BufferMode::zc:
      return make_with_path<DeliveryOf>(mode, std::move(setup), ZeroCopyPath{});
    case BufferMode::shmem_zc: {
      const SharedMemoryPath path(setup.shared_memory);
      return make_with_path<DeliveryOf>(mode, std::move(setup), path);
    }
    case BufferMode::mixed:
      return make_with_path<DeliveryOf>(mode, std::move(setup), MixedPath(mode.mixed_bytes));
    case BufferMode::auto_zc: {
      if (setup.rotate_buffers) {
        const RotatingAutoZeroCopyPath path = rotating_path(setup);
        return make_with_path<DeliveryOf>(mode, std::move(setup), path);
      }
      if (!setup.auto_zc_fallback)
        return make_with_path<DeliveryOf>(mode, std::move(setup), AutoZeroCopyPath{});
      AutoZeroCopyFallbackPath path;
      path.force_every = setup.force_fallback_every;
      return make_with_path<DeliveryOf>(mode, std::move(setup), path);
    }
  }
  return unsupported("this buffer mode has no data path");
}

}  // namespace ublkbench::composition
