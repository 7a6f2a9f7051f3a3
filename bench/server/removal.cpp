// SPDX-License-Identifier: MIT
#include "bench/server/removal.hpp"

#include "bench/base/format.hpp"
#include "bench/control/device_lock.hpp"
#include "bench/control/disk_users.hpp"
#include "bench/control/orphans.hpp"
#include "bench/control/removal.hpp"
#include "bench/server/device_record.hpp"

namespace ublkbench {
namespace {

/// A server closes its files within moments, or not before it is told to.
constexpr std::uint64_t patience_ns = 5'000'000'000;

/// Whether the number is still this device's: its own supervisor may have been faster.
bool is_same(const ublksrv_ctrl_dev_info& device) {
  const auto now = control::info(static_cast<int>(device.dev_id));
  return now ? now->ublksrv_flags == device.ublksrv_flags : now.error().errnum != ENODEV;
}

/// With the driver's own check where it has one: who opens the disk after we looked is spared, too.
Result<> take_disk_away(const ublksrv_ctrl_dev_info& device, bool force) {
  const int id = static_cast<int>(device.dev_id);
  if (!force)
    if (auto unused = control::refuse_if_used(id); !unused) return unused;
  const bool checks = (device.flags & UBLK_F_SAFE_STOP_DEV) != 0;
  auto stopped = !force && checks ? control::try_stop(id) : control::stop(id);
  if (stopped || stopped.error().errnum == ENODEV) return {};
  return stopped;
}

/// The device is deleted; its number is free when nobody has it open any more.
Result<std::string> delete_and_wait(int id) {
  const auto removed = control::remove(id, patience_ns);
  if (removed || removed.error().errnum == ENODEV) return "removed";
  if (removed.error().errnum != EBUSY) return std::unexpected(removed.error());
  return formatted("deleted; number {} is free when it is closed: {} ('--async' does not wait)", id,
                   control::who_keeps(id));
}

}  // namespace

Result<std::string> remove_device(int id, const RemovalRequest& request) {
  const auto lock = control::DeviceLock::take(id, control::default_timeout_ns);
  if (!lock) return std::unexpected(lock.error());
  const auto device = control::info(id);
  if (!device) return std::unexpected(device.error());
  if (control::is_going(id))
    return formatted("was deleted before; number {} is free when it is closed: {}", id,
                     control::who_keeps(id));
  if (request.only_orphan)
    if (const auto verdict = control::look_at(*device); !verdict.orphan)
      return unsupported(formatted("device {} is left alone", id), verdict.why);
  if (device->state != UBLK_S_DEV_DEAD)
    if (auto gone = take_disk_away(*device, request.force || request.only_orphan); !gone)
      return std::unexpected(gone.error());
  if (!is_same(*device)) return "removed";
  // Once the number is free, the next device's record may be there.
  if (control::owner(*device)) forget_record(id);
  if (!request.async) return delete_and_wait(id);
  const auto deleted = control::delete_once(id, control::default_timeout_ns);
  if (!deleted && deleted.error().errnum != ENODEV) return std::unexpected(deleted.error());
  return control::is_going(id) ? "is going" : "removed";
}

}  // namespace ublkbench
