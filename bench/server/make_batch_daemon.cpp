// SPDX-License-Identifier: MIT
#include "bench/server/batch_delivery.hpp"
#include "bench/server/make_daemon.hpp"

namespace ublkbench {

Result<std::unique_ptr<Daemon>> make_batch_daemon(const Mode& mode, DaemonSetup setup) {
  return composition::make<BatchDelivery>(mode, std::move(setup));
}

}  // namespace ublkbench
