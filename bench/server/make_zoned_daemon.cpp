// SPDX-License-Identifier: MIT
#include "bench/server/batch_delivery.hpp"
#include "bench/server/data_paths/zoned.hpp"
#include "bench/server/make_daemon.hpp"
#include "bench/server/per_io_delivery.hpp"

namespace ublkbench {
namespace {

template <DataPath Base>
Result<std::unique_ptr<Daemon>> make_over(const Mode& mode, DaemonSetup setup, const Base& base) {
  // One entry a slot; a queue's tags are all its slots at most.
  std::size_t slots = 0;
  for (const QueueView& queue : setup.queues) slots += queue.depth;
  setup.append_sectors = std::make_shared<std::uint64_t[]>(slots);
  const ZonedPath<Base> path(base, setup.append_sectors.get());
  return mode.delivers().batch
             ? composition::make_with_path<BatchDelivery>(mode, std::move(setup), path)
             : composition::make_with_path<PerIoDelivery>(mode, std::move(setup), path);
}

}  // namespace

Result<std::unique_ptr<Daemon>> make_zoned_daemon(const Mode& mode, DaemonSetup setup) {
  if (mode.buffer == BufferMode::user_copy)
    return make_over(mode, std::move(setup), UserCopyPath{});
  if (mode.buffer == BufferMode::zc) return make_over(mode, std::move(setup), ZeroCopyPath{});
  return unsupported("this buffer mode serves no zoned device");
}

}  // namespace ublkbench
