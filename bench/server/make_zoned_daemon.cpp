// SPDX-License-Identifier: MIT
#include "bench/server/batch_delivery.hpp"
#include "bench/server/data_paths/zoned.hpp"
#include "bench/server/make_daemon.hpp"
#include "bench/server/per_io_delivery.hpp"

namespace ublkbench {
namespace {

template <DataPath Base>
Result<std::unique_ptr<Daemon>> make_over(const Mode& mode, DaemonSetup setup, const Base& base) {
  setup.append_sectors = std::make_shared<std::uint64_t[]>(slot_count(setup));
  const ZonedPath<Base> path(base, setup.append_sectors.get());
  return mode.delivers().batch
             ? composition::make_with_path<BatchDelivery>(mode, std::move(setup), path)
             : composition::make_with_path<PerIoDelivery>(mode, std::move(setup), path);
}

}  // namespace

Result<std::unique_ptr<Daemon>> make_zoned_daemon(const Mode& mode, DaemonSetup setup) {
  if (std::holds_alternative<data_path::UserCopy>(setup.path))
    return make_over(mode, std::move(setup), UserCopyPath{});
  if (std::holds_alternative<data_path::ZeroCopy>(setup.path))
    return make_over(mode, std::move(setup), ZeroCopyPath{});
  return unsupported("this buffer mode serves no zoned device");
}

}  // namespace ublkbench
