// SPDX-License-Identifier: MIT
// What a server is asked to do; everything that can be checked without a driver is checked here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/control/control.hpp"
#include "bench/server/device_options.hpp"
#include "bench/server/mode.hpp"
#include "bench/server/waiting.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

/// Which CPUs a daemon may run on.
enum class Pinning : std::uint8_t {
  queue,  ///< those that submit to its queue, as the kernel's own server does
  free,   ///< all
  list,   ///< one of `cpus` each, in turn
};

struct ServeOptions {
  Mode mode;
  std::string target = "null";
  int id = -1;  ///< -1: the driver chooses
  unsigned queues = 1;
  unsigned depth = 128;
  unsigned devices = 1;  ///< of this kind, all served by one process
  unsigned daemons =
      0;  ///< 0: one per queue, with per_io_daemon two, with many devices one for all
  std::uint32_t max_io_bytes = 1U << 20;
  Pinning pinning = Pinning::queue;
  std::vector<int> cpus;
  bool auto_zc_fallback = false;
  bool rotate_buffers = false;
  std::uint32_t force_fallback_every = 0;
  bool partition_scan = true;
  Waiting waiting;
  BatchOptions batch;
  /// shmem_zc: the file that client and server share, on tmpfs or hugetlbfs; empty: a memfd.
  std::string shared_memory_file;
  std::uint64_t shared_memory_bytes = 64U << 20;
  bool shared_memory_read_only = false;
  DeviceOptions device;
  /// The user's own words for all this, to be remembered for a server that takes over; empty for a
  /// device that nobody takes over.
  std::vector<std::string> words;
  /// The device stays on purpose when its server ended, see control::Stamp.
  bool keep = false;
  /// Recovery: serve whatever data the target holds, even if it is not what the device had.
  bool accept_other_data = false;
  /// For tests: the server process kills itself when some of its io commands are with the driver.
  bool die_while_fetching = false;

  [[nodiscard]] unsigned daemon_count() const;
  /// Hardware queues of all devices.
  [[nodiscard]] unsigned queue_count() const { return devices * queues; }
  /// The target of device `number` of several: "%i" in its words is the number.
  [[nodiscard]] std::string target_of(unsigned number) const;
  /// Threads that serve: daemons, and with placement offload a worker for each.
  [[nodiscard]] unsigned task_count() const {
    return daemon_count() * (mode.places().worker ? 2 : 1);
  }
  /// Of one io command's buffer.
  [[nodiscard]] std::size_t buffer_bytes() const;
  /// UBLK_F_* to request on a kernel that grants `granted`.
  [[nodiscard]] std::uint64_t flags(std::uint64_t granted) const;
};

/// Limits of the driver and of this server; the first violation by name.
Result<> validate(const ServeOptions& options);

/// UBLK_F_* that the target's shape needs.
std::uint64_t shape_flags(const DeviceShape& shape);

/// Whether the mode can serve a device of this shape.
Result<> validate(const ServeOptions& options, const DeviceShape& shape);

/// Limits that follow from both the options and the target's shape.
ublk_params device_params(const ServeOptions& options, const DeviceShape& shape);

/// Queues that daemon `index` serves, numbered through all devices: several where there are fewer
/// daemons than queues. With more daemons than queues, batch delivery lets several share one queue,
/// and per_io_daemon deals out each queue's tags to all daemons, so that a load on one queue
/// occupies them all.
std::vector<std::uint16_t> queues_of_daemon(const ServeOptions& options, unsigned index);

/// Tags of each of its queues that daemon `index` serves: `first`, `first` + `step`... Without
/// per_io_daemon all.
struct TagShare {
  std::uint16_t first = 0;
  std::uint16_t step = 1;
};
TagShare tags_of_daemon(const ServeOptions& options, unsigned index);

}  // namespace ublkbench
