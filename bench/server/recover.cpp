// SPDX-License-Identifier: MIT
// A server for a device that lost its own: what must be the same as before, and the hand-over.
#include <unistd.h>

#include <algorithm>
#include <format>

#include "bench/base/clock.hpp"
#include "bench/control/features.hpp"
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
    return bad_input(
        std::format("device {} has {} of {} bytes", device.dev_id, what, had),
        std::format("these options ask for {}, and the driver cannot change it", asked));
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
    return bad_input(std::format("device {} cannot be recovered", device.dev_id),
                     "it was added without --recovery");
  if (device.state == UBLK_S_DEV_DEAD)
    return bad_input(std::format("device {} was stopped", device.dev_id),
                     "there is nothing to recover; 'ublk-server del' removes it");
  const std::uint64_t wanted = options.flags(device.flags) & mode_flags;
  if (wanted != (device.flags & mode_flags))
    return bad_input(std::format("device {} was added with {}", device.dev_id,
                                 feature_names(device.flags & mode_flags)),
                     std::format("these options ask for {}, and the driver cannot change it",
                                 feature_names(wanted)));
  if (options.queues != device.nr_hw_queues || options.depth != device.queue_depth ||
      options.max_io_bytes != device.max_io_buf_bytes)
    return bad_input(
        std::format("device {} has {} queues of depth {} and I/O of up to {} bytes", device.dev_id,
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
    return bad_input(std::format("target {} has {} bytes, the device {}", options.target,
                                 shape.bytes, device_bytes),
                     "it cannot hold what the device holds");
  if (shape.logical_block_shift > params.basic.logical_bs_shift)
    return bad_input(std::format("target {} takes I/O from {} bytes on, the device from {}",
                                 options.target, 1U << shape.logical_block_shift,
                                 1U << params.basic.logical_bs_shift));
  if (options.accept_other_data) return {};
  constexpr std::string_view how = "--accept-other-data serves it nevertheless";
  const auto record = load_record(device);
  if (!record)
    return bad_input(std::format("nothing is remembered of device {}'s data", device.dev_id),
                     std::format("check that {} is what it had; {}", options.target, how));
  if (record->layout && *record->layout != target.data_layout())
    return bad_input(std::format("target {} is not what device {} had ({})", options.target,
                                 device.dev_id, record->target),
                     std::format("its data lies as '{}', this would read it as '{}'; {}",
                                 *record->layout, target.data_layout(), how));
  if (!same_data(*record, options, target, metadata))
    return bad_input(std::format("target {} is not what device {} had ({})", options.target,
                                 device.dev_id, record->target),
                     std::format("what is stored in memory is lost with its server, and a file "
                                 "that was replaced is another one; {}",
                                 how));
  return {};
}

Result<> wait_until_released(int id, std::uint64_t deadline_ns) {
  for (;;) {
    auto started = control::start_recovery(id);
    if (started || started.error().errnum != EBUSY) return started;
    if (now_ns() >= deadline_ns) {
      const auto device = control::info(id);
      const bool served = device && device->state == UBLK_S_DEV_LIVE && device->ublksrv_pid > 0;
      return std::unexpected(
          started.error()
              .with_hint(served ? std::format("process {} serves it: use 'ublk-server upgrade'",
                                              device->ublksrv_pid)
                                : "its old server's files are still open somewhere")
              .with_exit(served ? ExitCode::usage : ExitCode::environment));
    }
    ::usleep(300);
  }
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
    return bad_input(std::format("device {} has its metadata in memory", options.id),
                     "it is lost with its server; --accept-other-data goes on without it");
  auto target = open_target(options);
  // A block device is still held by the server that is to be replaced.
  if (!target) return target.error().errnum == EBUSY ? Result<>{} : std::unexpected(target.error());
  return check_target(options, *device, *params, **target, nullptr);
}

Result<Server> Server::recover(const ServeOptions& options, std::uint64_t timeout_ns) {
  const std::uint64_t deadline_ns = now_ns() + timeout_ns;
  const auto device = control::info(options.id);
  if (!device) return std::unexpected(device.error());
  const auto params = control::get_params(options.id);
  if (!params) return std::unexpected(params.error());
  if (auto fits = check_device(options, *device, *params); !fits)
    return std::unexpected(fits.error());
  if (auto released = wait_until_released(options.id, deadline_ns); !released)
    return std::unexpected(released.error());
  auto target = open_target(options);
  if (!target) return std::unexpected(target.error());

  Server server;
  server.device_ = *device;
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
  if (taken) return server;
  server.let_go();  // the process ends with `server`, the device goes on waiting
  return std::unexpected(taken.error());
}

Result<> Server::take_over(const ServeOptions& options, ServedDevice device,
                           std::uint64_t deadline_ns) {
  if (options.mode.buffer == BufferMode::shmem_zc)
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
  if (auto ended = control::end_recovery(id(), process_, left_ns()); !ended) {
    if (before) (void)save(*before);
    return explained(std::move(ended));
  }
  if (auto now = control::info(id())) device_ = *now;
  return {};
}

}  // namespace ublkbench
