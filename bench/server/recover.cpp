// SPDX-License-Identifier: MIT
// A server for a device that lost its own: what must be the same as before, and the hand-over.
#include <algorithm>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/control/features.hpp"
#include "bench/control/holders.hpp"
#include "bench/process/wait.hpp"
#include "bench/server/device_record.hpp"
#include "bench/server/server.hpp"

namespace ublkbench {
namespace {

/// Flags that were settled when the device was added and that a server's work depends on.
constexpr std::uint64_t mode_flags = UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_NEED_GET_DATA |
                                     UBLK_F_USER_COPY | UBLK_F_ZONED | UBLK_F_AUTO_BUF_REG |
                                     UBLK_F_BATCH_IO | UBLK_F_INTEGRITY | UBLK_F_SHMEM_ZC |
                                     UBLK_F_IO_DESC_SIZE;

/// Sizes that flags stand for; with another one the server would take the driver's memory, or the
/// metadata of its blocks, apart at the wrong places.
Result<> check_sizes(const ServeOptions& options, const ublksrv_ctrl_dev_info& device,
                     const ublk_params& params) {
  const auto refused = [&](std::string_view what, unsigned had, std::uint64_t asked) -> Result<> {
    return bad_input(formatted("device {} has {} of {} bytes", device.dev_id, what, had),
                     formatted("these options ask for {}, and the driver cannot change it", asked));
  };
  if ((device.flags & UBLK_F_IO_DESC_SIZE) != 0 &&
      options.device.io_desc_bytes != device.io_desc_size)
    return refused("io descriptors", device.io_desc_size, options.device.io_desc_bytes.value_or(0));
  if ((params.types & UBLK_PARAM_TYPE_INTEGRITY) != 0 &&
      options.device.metadata.bytes != params.integrity.metadata_size)
    return refused("metadata", params.integrity.metadata_size, options.device.metadata.bytes);
  return {};
}

Result<> check_device(const ServeOptions& options, const ublksrv_ctrl_dev_info& device,
                      const ublk_params& params) {
  if (!control::recoverable(device))
    return bad_input(formatted("device {} cannot be recovered", device.dev_id),
                     "it was added without --recovery");
  if (device.state == UBLK_S_DEV_DEAD)
    return bad_input(formatted("device {} was stopped", device.dev_id),
                     "there is nothing to recover; 'ublk-server del' removes it");
  const std::uint64_t wanted = options.flags(device.flags) & mode_flags;
  if (wanted != (device.flags & mode_flags))
    return bad_input(formatted("device {} was added with {}", device.dev_id,
                               feature_names(device.flags & mode_flags)),
                     formatted("these options ask for {}, and the driver cannot change it",
                               feature_names(wanted)));
  if (options.queues != device.nr_hw_queues || options.depth != device.queue_depth ||
      options.max_io_bytes != device.max_io_buf_bytes)
    return bad_input(
        formatted("device {} has {} queues of depth {} and I/O of up to {} bytes", device.dev_id,
                  device.nr_hw_queues, device.queue_depth, device.max_io_buf_bytes),
        "the driver cannot change it");
  return check_sizes(options, device, params);
}

/// Before there is a server, `metadata` is not open: then only the target is looked at.
bool same_data(const DeviceRecord& record, const ServeOptions& options, const Target& target,
               const MetadataStore* metadata) {
  std::vector<std::string> had = record.files;
  if (metadata == nullptr) std::erase_if(had, is_metadata);
  if (!same_files(had, file_identities(target, metadata))) return false;
  return !file_identities(target, nullptr).empty() || record.target == options.target;
}

/// A server that serves other data than the device had is silent corruption for its clients.
Result<> check_target(const ServeOptions& options, const ublksrv_ctrl_dev_info& device,
                      const ublk_params& params, const Target& target,
                      const MetadataStore* metadata) {
  const DeviceShape shape = target.shape();
  const std::uint64_t device_bytes = params.basic.dev_sectors << 9;
  if (shape.bytes < device_bytes)
    return bad_input(formatted("target {} has {} bytes, the device {}", options.target, shape.bytes,
                               device_bytes),
                     "it cannot hold what the device holds");
  if (shape.logical_block_shift > params.basic.logical_bs_shift)
    return bad_input(formatted("target {} takes I/O from {} bytes on, the device from {}",
                               options.target, 1U << shape.logical_block_shift,
                               1U << params.basic.logical_bs_shift));
  if (shape.read_only && (params.basic.attrs & UBLK_ATTR_READ_ONLY) == 0)
    return bad_input(
        formatted("target {} is read-only, device {} is not", options.target, device.dev_id),
        "its clients' writes would fail");
  if (options.accept_other_data) return {};
  constexpr std::string_view how = "--accept-other-data serves it nevertheless";
  const auto record = load_record(device);
  if (!record)
    return bad_input(formatted("nothing is remembered of device {}'s data", device.dev_id),
                     formatted("check that {} is what it had; {}", options.target, how));
  if (record->layout && *record->layout != target.data_layout())
    return bad_input(formatted("target {} is not what device {} had ({})", options.target,
                               device.dev_id, record->target),
                     formatted("its data lies as '{}', this would read it as '{}'; {}",
                               *record->layout, target.data_layout(), how));
  if (!same_data(*record, options, target, metadata))
    return bad_input(formatted("target {} is not what device {} had ({})", options.target,
                               device.dev_id, record->target),
                     formatted("what is stored in memory is lost with its server, and a file "
                               "that was replaced is another one; {}",
                               how));
  return {};
}

Error still_served(int id) {
  const auto device = control::info(id);
  const auto server = device ? control::server_process(*device) : control::ServerProcess{};
  const bool served = device && device->state == UBLK_S_DEV_LIVE && server.found();
  return failed("START_USER_RECOVERY", formatted("on ublk device {}", id), EBUSY,
                served ? server.process.text() + " serves it: use 'ublk-server upgrade'"
                       : "its old server's files are still open somewhere")
      .error()
      .with_exit(served ? ExitCode::usage : ExitCode::environment);
}

/// Whether the device is ours to recover now; false: not yet.
Result<bool> begin_recovery(int id) {
  const auto device = control::info(id);
  if (!device) return std::unexpected(device.error());
  if (device->state == UBLK_S_DEV_DEAD)
    return bad_input(formatted("device {} was stopped meanwhile", id));
  if (!control::waits_for_recovery(*device)) return false;
  const auto started = control::start_recovery(id);
  if (started) return true;
  if (started.error().errnum == EBUSY) return false;
  return std::unexpected(started.error());
}

/// Between looks others may do something to the device, such as quiesce it; once its server is gone
/// the lock is kept. One that came with the caller is kept all the time.
Result<control::DeviceLock> wait_until_released(int id, std::uint64_t deadline_ns,
                                                std::optional<control::DeviceLock> lock) {
  const bool callers = lock.has_value();
  Result<bool> begun = false;
  const auto look = [&] {
    if (!lock) {
      auto taken = control::DeviceLock::take(id, deadline_ns - std::min(deadline_ns, now_ns()));
      if (!taken) {
        begun = std::unexpected(taken.error());
        return true;
      }
      lock = std::move(*taken);
    }
    begun = begin_recovery(id);
    if (!begun || *begun) return true;
    if (!callers) lock.reset();
    return false;
  };
  const auto waited = process::wait_until("the old server to let go", deadline_ns, look);
  if (!waited && waited.error().errnum == ETIMEDOUT) return std::unexpected(still_served(id));
  if (!waited) return std::unexpected(waited.error());
  if (!begun) return std::unexpected(begun.error());
  return std::move(*lock);
}

/// The old server may still be on its way out when its device is free already.
Result<std::unique_ptr<Target>> open_released_target(const ServeOptions& options,
                                                     std::uint64_t deadline_ns) {
  Result<std::unique_ptr<Target>> target;
  const auto opened =
      process::wait_until("the old server to let go of the target", deadline_ns, [&] {
        target = open_target(options);
        return target || target.error().errnum != EBUSY;
      });
  if (!opened && opened.error().errnum != ETIMEDOUT) return std::unexpected(opened.error());
  return target;
}

}  // namespace

Result<> check_takeover(const ServeOptions& options) {
  const auto device = control::info(options.id);
  if (!device) return std::unexpected(device.error());
  const auto params = control::get_params(options.id);
  if (!params) return std::unexpected(params.error());
  if (auto fits = check_device(options, *device, *params); !fits) return fits;
  if (options.device.metadata.bytes != 0 && options.device.metadata.file.empty() &&
      !options.accept_other_data)
    return bad_input(formatted("device {} has its metadata in memory", options.id),
                     "it is lost with its server; --accept-other-data goes on without it");
  // Its files are still held by the server that is to be replaced.
  auto target = open_target(options, 0, false);
  if (!target) return std::unexpected(target.error());
  return check_target(options, *device, *params, **target, nullptr);
}

Result<Server> Server::recover(const ServeOptions& options, std::uint64_t timeout_ns,
                               std::optional<control::DeviceLock> lock) {
  const std::uint64_t deadline_ns = now_ns() + timeout_ns;
  const auto device = control::info(options.id);
  if (!device) return std::unexpected(device.error());
  const auto params = control::get_params(options.id);
  if (!params) return std::unexpected(params.error());
  if (auto fits = check_device(options, *device, *params); !fits)
    return std::unexpected(fits.error());
  auto released = wait_until_released(options.id, deadline_ns, std::move(lock));
  if (!released) return std::unexpected(released.error());
  auto target = open_released_target(options, deadline_ns);
  if (!target) return std::unexpected(target.error());

  if (auto others = refuse_shared(file_identities(**target, nullptr), (*target)->shape().read_only,
                                  options.id);
      !others)
    return std::unexpected(others.error());

  Server server;
  server.locks_.push_back(std::move(*released));
  server.device_ = *device;
  server.watch_.add(options.id);
  const auto missing =
      options.accept_other_data ? MetadataStore::Missing::create : MetadataStore::Missing::refuse;
  if (auto opened = server.open_metadata(options, *params, missing); !opened)
    return std::unexpected(opened.error());
  const MetadataStore* const metadata = server.metadata_ ? &*server.metadata_ : nullptr;
  if (auto same = check_target(options, *device, *params, **target, metadata); !same)
    return std::unexpected(same.error());
  if (metadata != nullptr)
    if (auto room = metadata->make_room(); !room) return std::unexpected(room.error());
  server.ids_ = {options.id};
  auto taken = server.take_over(options,
                                {.id = options.id,
                                 .block_shift = params->basic.logical_bs_shift,
                                 .target = std::move(*target)},
                                deadline_ns);
  if (taken) {
    server.locks_.clear();
    return server;
  }
  server.let_go();  // the process ends with `server`, the device goes on waiting
  return std::unexpected(taken.error());
}

Result<> Server::take_over(const ServeOptions& options, ServedDevice device,
                           std::uint64_t deadline_ns) {
  if (options.mode.buffers().shared)
    if (auto shared = find_shared_memory(options); !shared) return shared;
  std::vector<ServedDevice> devices;
  devices.push_back(std::move(device));
  const DeviceRecord taken_over = record(options, devices.front(), 0);
  if (auto spawned = spawn(options, std::move(devices)); !spawned) return spawned;
  const auto left_ns = [deadline_ns] {
    return std::max<std::uint64_t>(deadline_ns - std::min(deadline_ns, now_ns()), 1'000'000'000);
  };
  if (auto ready = channel_.next(left_ns()); !ready) {
    if (ready.error().errnum != ECHILD) return std::unexpected(ready.error());
    const auto how = wait();  // a signal, say
    return how ? std::unexpected(ready.error()) : how;
  }
  // A server that clients have must not end because a file could not be written.
  const auto before = load_record(device_);
  if (auto saved = save(taken_over); !saved) return saved;
  if (auto ended = control::end_recovery(id(), process(), left_ns()); !ended) {
    if (before) (void)save(*before);
    return explained(std::move(ended));
  }
  if (auto now = control::info(id())) device_ = *now;
  return {};
}

}  // namespace ublkbench
