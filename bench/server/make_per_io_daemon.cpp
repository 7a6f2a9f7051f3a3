// SPDX-License-Identifier: MIT
#include "bench/server/make_daemon.hpp"
#include "bench/server/per_io_delivery.hpp"

namespace ublkbench {

Result<std::unique_ptr<Daemon>> make_per_io_daemon(const Mode& mode, DaemonSetup setup) {
  return composition::make<PerIoDelivery>(mode, std::move(setup));
}

}  // namespace ublkbench
