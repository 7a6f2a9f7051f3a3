// SPDX-License-Identifier: MIT
#include "bench/suite/foreign_device.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "bench/base/format.hpp"
#include "bench/control/control.hpp"
#include "bench/control/features.hpp"
#include "bench/control/holders.hpp"
#include "bench/record/block_queue.hpp"
#include "bench/record/record_codec.hpp"
#include "bench/suite/hang_dump.hpp"

namespace ublkbench {
namespace {

std::optional<ForeignServer> server_of(const ublksrv_ctrl_dev_info& device) {
  const control::ServerProcess found = control::server_process(device);
  if (!found.found()) return std::nullopt;
  ForeignServer server{.pid = found.pid(), .name = found.process.name, .devices = {}};
  for (const int id : control::device_ids())
    if (const auto info = control::info(id);
        info && control::server_process(*info).pid() == server.pid)
      server.devices.push_back(id);
  return server;
}

}  // namespace

void ForeignDevice::describe(MeasuredDevice& device) const {
  device.path = path;
  if (queues != 0) device.queues = queues;
  if (!ublk) return;
  device.id = ublk->dev_id;
  device.depth = ublk->queue_depth;
  device.max_io_bytes = ublk->max_io_buf_bytes;
  device.state = control::state_name(ublk->state);
  device.flags_granted = feature_list(ublk->flags);
  device.server = server;
}

ForeignIdentity ForeignDevice::identity() const {
  ForeignIdentity identity{.queues = queues == 0 ? std::nullopt : std::optional(queues)};
  if (!ublk) return identity;
  identity.depth = ublk->queue_depth;
  identity.max_io_bytes = ublk->max_io_buf_bytes;
  identity.flags = feature_list(ublk->flags);
  if (server) identity.server = server->name;
  return identity;
}

Result<ForeignDevice> look_at_device(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0)
    return std::unexpected(
        failed("--device", path, errno, "name a block device").error().with_exit(ExitCode::usage));
  if (!S_ISBLK(status.st_mode))
    return bad_input(formatted("--device {}: it is {}, no block device", path,
                               S_ISREG(status.st_mode) ? "a regular file" : "something else"),
                     S_ISREG(status.st_mode)
                         ? "a client may have left it where a device was: look, remove it; "
                           "'ublk-load' measures files"
                         : "name a block device");
  ForeignDevice device{
      .path = path, .queues = hardware_queues(path), .ublk = std::nullopt, .server = std::nullopt};
  const int id = ublk_number(path);
  if (id < 0) return device;
  if (const auto info = control::info(id)) {
    device.ublk = *info;
    device.server = server_of(*info);
  }
  return device;
}

Result<ForeignDevice> look_again(const ForeignDevice& before) {
  auto now = look_at_device(before.path);
  if (!now || now->identity() == before.identity()) return now;
  return unsupported(
      formatted("{} is no longer what it was: {}; when the run began {}", before.path,
                record_text(now->identity()), record_text(before.identity())),
      "measure a device that stays");
}

}  // namespace ublkbench
