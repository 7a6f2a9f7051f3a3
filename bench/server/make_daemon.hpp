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

// The class of each data path.

inline CopyPath path_of(data_path::Copy, const DaemonSetup&) { return {}; }
inline GetDataPath path_of(data_path::GetData, const DaemonSetup&) { return {}; }
inline UserCopyPath path_of(data_path::UserCopy, const DaemonSetup&) { return {}; }
inline UserCopyMetadataPath path_of(data_path::UserCopyMetadata choice, const DaemonSetup& setup) {
  return {choice.store, setup.max_io_bytes};
}
inline ZeroCopyPath path_of(data_path::ZeroCopy, const DaemonSetup&) { return {}; }
inline AutoZeroCopyPath path_of(data_path::AutoZeroCopy, const DaemonSetup&) { return {}; }
inline AutoZeroCopyFallbackPath path_of(data_path::AutoZeroCopyFallback choice,
                                        const DaemonSetup&) {
  return AutoZeroCopyFallbackPath(choice.force_every);
}
inline RotatingAutoZeroCopyPath path_of(data_path::RotatingAutoZeroCopy, const DaemonSetup& setup) {
  return RotatingAutoZeroCopyPath(static_cast<std::uint32_t>(slot_count(setup)));
}
inline SharedMemoryPath path_of(data_path::SharedMemory choice, const DaemonSetup&) {
  return SharedMemoryPath(choice.base);
}
inline MixedPath path_of(data_path::Mixed choice, const DaemonSetup&) {
  return MixedPath(choice.zero_copy_from_bytes);
}

template <template <DataPath> class DeliveryOf>
Result<std::unique_ptr<Daemon>> make(const Mode& mode, DaemonSetup setup) {
  return std::visit(
      [&](auto choice) {
        const auto path = path_of(choice, setup);
        return make_with_path<DeliveryOf>(mode, std::move(setup), path);
      },
      setup.path);
}

}  // namespace ublkbench::composition
