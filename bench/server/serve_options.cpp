// SPDX-License-Identifier: MIT
#include "bench/server/serve_options.hpp"

#include <algorithm>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench {

unsigned ServeOptions::daemon_count() const {
  if (daemons != 0) return daemons;
  if (devices > 1) return 1;
  // One daemon per queue would be no sharing; each needs a tag of every queue.
  const bool shares = mode.places().spreads_tags && depth >= 2 * queues;
  return shares ? 2 * queues : queues;
}

std::string ServeOptions::target_of(unsigned number) const {
  std::string spec = target;
  if (devices == 1) return spec;
  const std::string text = std::to_string(number);
  for (std::size_t at = spec.find("%i"); at != std::string::npos; at = spec.find("%i", at))
    spec.replace(at, 2, text);
  return spec;
}

std::uint64_t ServeOptions::flags(std::uint64_t granted) const {
  std::uint64_t wanted = mode.flags() | device.flags(granted);
  if (auto_zc_fallback) wanted |= UBLK_F_SUPPORT_ZERO_COPY;
  // Without the flag the scan cannot be kept away (before Linux 7.0), and that is no error.
  if (!partition_scan) wanted |= granted & UBLK_F_NO_AUTO_PART_SCAN;
  return wanted;
}

namespace {

Result<> validate_waiting(const ServeOptions& options) {
  const Waiting& waiting = options.waiting;
  if (!waiting.plain() && options.mode.places().worker)
    return bad_input("--spin-us or --wait-count with offload",
                     "both tasks of a daemon sleep until the other wakes them");
  if (waiting.count > 1 && options.mode.reaps().polls)
    return bad_input(formatted("--wait-count {} with {}", waiting.count, options.mode.name()),
                     "a ring that polls does not wait");
  if (waiting.count < 1 || waiting.count > UBLK_MAX_QUEUE_DEPTH)
    return bad_input(formatted("--wait-count {}", waiting.count),
                     formatted("give 1 to {}", UBLK_MAX_QUEUE_DEPTH));
  const BatchOptions& batch = options.batch;
  if (batch.fetches_per_queue < 1 || batch.fetches_per_queue > 64)
    return bad_input(formatted("{} fetch commands per queue", batch.fetches_per_queue),
                     "give 1 to 64");
  if (batch.fetch_tags < 1 || batch.fetch_tags > most_fetch_tags)
    return bad_input(
        formatted("fetch buffers of {} tags", batch.fetch_tags),
        formatted("give 1 to {}, which is what the driver copies at once", most_fetch_tags));
  if (batch != BatchOptions{} && !options.mode.delivers().batch)
    return bad_input("options of fetch commands without mode batch");
  return {};
}

/// What the mode and what is asked of the device forbid each other.
Result<> validate_device(const ServeOptions& options) {
  const BufferTraits& buffers = options.mode.buffers();
  const DeviceOptions& device = options.device;
  // ublk_ctrl_add_dev()
  if (device.metadata.bytes != 0 && !buffers.metadata)
    return bad_input(formatted("metadata with mode {}", options.mode.name()),
                     "the driver hands metadata over with mode user_copy only");
  if (device.unprivileged && !buffers.unprivileged)
    return bad_input(formatted("--unprivileged with mode {}", options.mode.name()),
                     "the driver trusts ordinary users with copy and get_data only");
  if (device.recovery != Recovery::none && buffers.shared && options.shared_memory_file.empty())
    return bad_input("--recovery with shmem_zc and no --shared-memory FILE",
                     "the next server must find the memory that this one registers");
  return {};
}

/// Numbers of devices (ublk_drv.c, UBLK_MAX_UBLKS), and of this process's queues, which have 16
/// bits.
Result<> validate_numbers(const ServeOptions& options) {
  constexpr std::int64_t numbers = 1 << 20;
  constexpr std::uint64_t most_queues = 1 << 16;
  if (options.id < -1 || std::int64_t{options.id} + options.devices > numbers)
    return bad_input(formatted("device number {}", options.id),
                     formatted("the driver has 0 to {}", numbers - 1));
  const std::uint64_t queues = std::uint64_t{options.devices} * options.queues;
  if (queues > most_queues)
    return bad_input(formatted("{} queues of {} devices", queues, options.devices),
                     formatted("one process serves at most {}", most_queues));
  return {};
}

/// What belongs to one device, or to one server that takes over, and not to many.
Result<> validate_devices(const ServeOptions& options) {
  constexpr unsigned most = 1024;
  if (options.devices < 1 || options.devices > most)
    return bad_input(formatted("{} devices", options.devices), formatted("give 1 to {}", most));
  if (auto fit = validate_numbers(options); !fit) return fit;
  if (options.devices == 1) return {};
  const auto refused = [](const std::string& what, const char* why) -> Result<> {
    return bad_input(formatted("{} with --devices", what), why);
  };
  if (options.device.recovery != Recovery::none)
    return refused("--recovery", "a server takes over one device: add those one by one");
  if (options.mode.places().spreads_tags || options.mode.places().worker)
    return refused("mode " + options.mode.name(),
                   "daemons that serve many devices are the only tasks of each queue");
  if (options.mode.buffers().shared)
    return refused("mode shmem_zc", "a client shares its memory with one device");
  if (options.device.metadata.bytes != 0) return refused("metadata", "it is stored for one device");
  if (options.daemon_count() > options.queue_count())
    return refused(
        formatted("{} daemons for {} queues", options.daemon_count(), options.queue_count()),
        "give at most one for each queue");
  // The CQ ring has room for two completions of each (DaemonRings).
  constexpr unsigned most_commands = 32768;
  const unsigned queues_of_one =
      (options.queue_count() + options.daemon_count() - 1) / options.daemon_count();
  if (queues_of_one * options.depth > most_commands)
    return refused(formatted("{} io commands for a daemon", queues_of_one * options.depth),
                   "at most 32768: use more --daemons, fewer devices or a smaller depth");
  return {};
}

/// Bytes of one io command's buffer: its data, and where there is metadata that behind it.
std::size_t metadata_bytes(const ServeOptions& options) {
  return static_cast<std::size_t>(options.max_io_bytes / 512) * options.device.metadata.bytes;
}

}  // namespace

std::size_t ServeOptions::buffer_bytes() const {
  constexpr std::size_t page = 4096;
  return max_io_bytes + (metadata_bytes(*this) + page - 1) / page * page;
}

Result<> validate(const ServeOptions& options) {
  if (options.depth < 1 || options.depth > UBLK_MAX_QUEUE_DEPTH)
    return bad_input(formatted("queue depth {}", options.depth),
                     formatted("the driver takes 1 to {}", UBLK_MAX_QUEUE_DEPTH));
  if (options.queues < 1 || options.queues > UBLK_MAX_NR_QUEUES)
    return bad_input(formatted("{} queues", options.queues),
                     formatted("the driver takes 1 to {}", UBLK_MAX_NR_QUEUES));
  constexpr std::uint32_t largest_io = 1U << UBLK_IO_BUF_BITS;
  if (options.max_io_bytes < 4096 || options.max_io_bytes > largest_io ||
      options.max_io_bytes % 4096 != 0)
    return bad_input(formatted("{} bytes as the largest I/O", options.max_io_bytes),
                     "the driver takes 4k to 32M, a multiple of 4k");
  if (auto fits = validate_devices(options); !fits) return fits;
  const unsigned queues = options.queue_count();
  const bool batch = options.mode.delivers().batch;
  const bool shares_queues = batch || options.mode.places().spreads_tags;
  if (options.daemon_count() > queues && !shares_queues)
    return bad_input(formatted("{} daemons for {} queues", options.daemon_count(), options.queues),
                     "only batch and per_io_daemon let daemons share a queue");
  if (batch && options.daemon_count() > queues && options.daemon_count() % queues != 0)
    return bad_input(formatted("{} daemons for {} queues", options.daemon_count(), options.queues),
                     "give a multiple of the queues");
  if (options.mode.places().spreads_tags && options.daemon_count() > options.queues &&
      options.daemon_count() > options.depth)
    return bad_input(
        formatted("{} daemons for queues of depth {}", options.daemon_count(), options.depth),
        "a daemon needs at least one tag of each queue");
  if (auto waits = validate_waiting(options); !waits) return waits;
  if (auto fits = validate_device(options); !fits) return fits;
  if (options.pinning == Pinning::list && options.cpus.empty())
    return bad_input("no CPUs to pin the daemons to");
  if (options.auto_zc_fallback && !options.mode.buffers().falls_back)
    return bad_input("a fallback for auto registration without mode auto_zc");
  if (options.rotate_buffers) {
    if (!options.mode.buffers().falls_back || options.auto_zc_fallback)
      return bad_input("rotating buffer indexes without auto registration, or with its fallback");
    // A daemon knows only of its own commits which slot is next.
    if (options.daemon_count() > queues)
      return bad_input("rotating buffer indexes with daemons that share a queue",
                       "give no more daemons than queues");
  }
  if (options.mode.buffers().shared &&
      (options.shared_memory_bytes == 0 || options.shared_memory_bytes > 4ULL << 30 ||
       options.shared_memory_bytes % 4096 != 0))
    return bad_input(formatted("{} bytes of shared memory", options.shared_memory_bytes),
                     "the driver takes 4k to 4G, a multiple of 4k");
  return {};
}

std::uint64_t shape_flags(const DeviceShape& shape) {
  return shape.zone_bytes != 0 ? UBLK_F_ZONED : 0;
}

Result<> validate(const ServeOptions& options, const DeviceShape& shape) {
  if (shape.zone_bytes == 0) return {};
  if (options.device.metadata.bytes != 0)
    return bad_input("metadata on a zoned target", "this server has no data path for both");
  const BufferTraits& buffers = options.mode.buffers();
  if (buffers.zoned) return {};
  // ublk_ctrl_add_dev(): an append's answer takes the place of the buffer's address.
  return bad_input(formatted("a zoned target with mode '{}'", options.mode.name()),
                   buffers.zoned_in_driver
                       ? "this server has no such data path: use user_copy or zc"
                       : "the driver takes UBLK_F_ZONED with UBLK_F_USER_COPY or "
                         "UBLK_F_SUPPORT_ZERO_COPY only: use user_copy or zc");
}

namespace {

void add_zones(ublk_params& params, const ServeOptions& options, const DeviceShape& shape) {
  params.types |= UBLK_PARAM_TYPE_ZONED;
  params.basic.chunk_sectors = static_cast<std::uint32_t>(shape.zone_bytes >> 9);
  params.zoned.max_open_zones = shape.max_open_zones;
  params.zoned.max_active_zones = shape.max_active_zones;
  params.zoned.max_zone_append_sectors = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(options.max_io_bytes, shape.zone_capacity_bytes) >> 9);
}

}  // namespace

ublk_params device_params(const ServeOptions& options, const DeviceShape& shape) {
  ublk_params params{};
  params.len = sizeof(params);
  params.types = UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DMA_ALIGN;
  params.basic.attrs = (shape.volatile_cache ? UBLK_ATTR_VOLATILE_CACHE : 0U) |
                       (shape.fua ? UBLK_ATTR_FUA : 0U) |
                       (shape.read_only ? UBLK_ATTR_READ_ONLY : 0U);
  params.basic.logical_bs_shift = static_cast<std::uint8_t>(shape.logical_block_shift);
  params.basic.physical_bs_shift = static_cast<std::uint8_t>(shape.physical_block_shift);
  params.basic.io_min_shift = params.basic.physical_bs_shift;
  params.basic.io_opt_shift = params.basic.physical_bs_shift;
  params.basic.max_sectors = options.max_io_bytes >> 9;
  params.basic.dev_sectors = shape.bytes >> 9;
  params.dma.alignment = shape.dma_alignment;
  if (shape.zone_bytes != 0) add_zones(params, options, shape);
  if (shape.discard || shape.write_zeroes) {
    params.types |= UBLK_PARAM_TYPE_DISCARD;
    // The whole request must fit ublksrv_io_desc.nr_sectors and our 32-bit byte count.
    constexpr std::uint32_t largest_sectors = (1U << 30) >> 9;
    params.discard.discard_granularity = 1U << shape.physical_block_shift;
    params.discard.max_discard_segments = 1;
    params.discard.max_discard_sectors = shape.discard ? largest_sectors : 0;
    params.discard.max_write_zeroes_sectors = shape.write_zeroes ? largest_sectors : 0;
  }
  apply(options.device, params);
  return params;
}

bool spreads_tags(const ServeOptions& options) {
  return options.mode.places().spreads_tags && options.daemon_count() > options.queues;
}

std::vector<std::uint16_t> queues_of_daemon(const ServeOptions& options, unsigned index) {
  std::vector<std::uint16_t> queues;
  if (spreads_tags(options)) {
    for (unsigned queue = 0; queue < options.queues; ++queue)
      queues.push_back(static_cast<std::uint16_t>(queue));
    return queues;
  }
  if (options.daemon_count() > options.queue_count())
    return {static_cast<std::uint16_t>(index % options.queue_count())};
  for (unsigned queue = index; queue < options.queue_count(); queue += options.daemon_count())
    queues.push_back(static_cast<std::uint16_t>(queue));
  return queues;
}

TagShare tags_of_daemon(const ServeOptions& options, unsigned index) {
  if (!spreads_tags(options)) return {};
  return {.first = static_cast<std::uint16_t>(index),
          .step = static_cast<std::uint16_t>(options.daemon_count())};
}

}  // namespace ublkbench
