// SPDX-License-Identifier: MIT
// The control plane: commands to /dev/ublk-control, each with a bound on how long it may take.
//
// A control command that blocks does so in an io-wq worker of the issuing process, in a state that
// no signal ends; that process then cannot exit either (io_uring/io-wq.c, io_wq_put_and_exit).
// So every command that can sleep is issued by a short-lived child: past the bound the caller gets
// an error that says what was waited for, and only the child is left behind.
#pragma once

#include <sys/types.h>
#include "bench/control/uapi.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/base/result.hpp"

namespace ublkbench::control {

inline constexpr std::uint64_t default_timeout_ns = 30'000'000'000;

/// Whether a ublk driver is there at all; the error names what to do.
Result<> driver_present();

/// UBLK_F_* this kernel can grant; kernels before 6.5 have no GET_FEATURES and give an error.
Result<std::uint64_t> features();

struct KernelAbilities {
  std::uint64_t features = 0;  ///< what features() says; none where it cannot be asked
  /// io_uring takes commands to files that do not poll on a ring that polls; 6.12 answers
  /// EOPNOTSUPP, 7.3 carries them out (io_uring/uring_cmd.c, io_uring_cmd()).
  bool commands_on_polling_rings = false;
};
KernelAbilities abilities();

/// What ADD_DEV is asked for. `id` -1 lets the driver choose.
struct DeviceSpec {
  int id = -1;
  std::uint16_t queues = 1;
  std::uint16_t depth = 128;
  std::uint32_t max_io_bytes = 1U << 20;
  std::uint64_t flags = 0;          ///< UBLK_F_* requested
  std::uint16_t io_desc_bytes = 0;  ///< with UBLK_F_IO_DESC_SIZE
  bool kept = false;                ///< the device stays on purpose when its server ended
};

/// Creates the device. Requested flags, queues and depth are compared with what was granted; a
/// difference removes the device again and is an error, because rows would be mislabelled.
Result<ublksrv_ctrl_dev_info> add(const DeviceSpec& spec);

Result<> set_params(int id, const ublk_params& params);
Result<ublk_params> get_params(int id);

/// Brings /dev/ublkbN up; waits until every queue's io commands were fetched by process `server`.
Result<> start(int id, pid_t server, std::uint64_t timeout_ns = default_timeout_ns);

/// REG_BUF: pins `memory`, which this process must have mapped shared, and matches requests' pages
/// against it. Returns the index that io descriptors will name it by.
/// A `read_only` region serves writes only, whose data the server reads.
Result<int> register_shared_memory(int id, std::span<std::byte> memory, bool read_only = false);

/// Takes the disk away and cancels the server's commands.
Result<> stop(int id, std::uint64_t timeout_ns = default_timeout_ns);

/// As stop(), unless somebody has the block device open: then EBUSY, and nothing changes.
Result<> try_stop(int id, std::uint64_t timeout_ns = default_timeout_ns);

/// One DEL_DEV_ASYNC, before Linux 6.9 DEL_DEV: what waits for the device's users is not in the
/// driver then, see removal.hpp.
Result<> delete_once(int id, std::uint64_t timeout_ns);

/// The block device has `bytes` from now on; what the server stores is not this command's business.
Result<> resize(int id, std::uint64_t bytes);

/// One QUIESCE_DEV: takes back the io commands that are with the driver at this moment. Those that
/// the server commits later stay with it, so one is not enough under load: see quiesce_device().
Result<> quiesce_once(int id, std::uint64_t timeout_ns);

/// A new server may open the device: EBUSY as long as the old one's files are open.
Result<> start_recovery(int id);

/// The I/O goes on with process `server`, whose io commands all are with the driver.
Result<> end_recovery(int id, pid_t server, std::uint64_t timeout_ns = default_timeout_ns);

/// Whether the device outlives its server.
bool recoverable(const ublksrv_ctrl_dev_info& device);
/// Whether its server is gone and another one is awaited.
bool waits_for_recovery(const ublksrv_ctrl_dev_info& device);

/// Whether I/O that comes after QUIESCE_DEV waits for the next server; else it fails: as --recovery
/// fail-io has it, and of batch devices always (Linux 7.3, ublk_batch_cancel_queue()).
bool waits_when_quiesced(const ublksrv_ctrl_dev_info& device);

/// Never blocks in the driver (ublk_ctrl_uring_cmd_may_sleep).
Result<ublksrv_ctrl_dev_info> info(int id);

/// CPUs that submit to hardware queue `queue`. Never blocks in the driver.
Result<std::vector<int>> queue_affinity(int id, int queue);

/// Ids of all ublk devices, from sysfs.
std::vector<int> device_ids();

/// The process that made the device with this suite, alive or dead; nothing for others' devices.
/// Kept in the device itself (ublksrv_flags, which the driver stores and never reads), so that a
/// crash cannot lose it. Its number is that of its own PID namespace: see maker.hpp.
std::optional<pid_t> owner(const ublksrv_ctrl_dev_info& info);

/// "LIVE", "DEAD", "QUIESCED", "FAIL_IO" or "state 7".
std::string state_name(unsigned state);

}  // namespace ublkbench::control
