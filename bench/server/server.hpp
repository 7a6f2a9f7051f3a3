// SPDX-License-Identifier: MIT
// A device, or many, and the process that serves them, seen by their supervisor.
//
// The supervisor sends the control commands and stays small and single-threaded; the daemons run
// in a child. So a server that crashes or hangs leaves somebody who can remove the device, and
// a child for a bounded control command never copies the daemons' memory.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/control/device_lock.hpp"
#include "bench/process/child.hpp"
#include "bench/process/program.hpp"
#include "bench/server/channel.hpp"
#include "bench/server/counters.hpp"
#include "bench/server/device_record.hpp"
#include "bench/server/serve_options.hpp"
#include "bench/server/server_process.hpp"

namespace ublkbench {

/// Makes the target, after all that can be said of the options before there is a device; of several
/// devices that of device `number`. It holds its files unless `holds` is false.
Result<std::unique_ptr<Target>> open_target(const ServeOptions& options, unsigned number = 0,
                                            bool holds = true);

/// What the start of the devices took, each phase for all of them.
struct StartTimes {
  std::uint64_t add_ns = 0;         ///< ADD_DEV
  std::uint64_t set_params_ns = 0;  ///< SET_PARAMS
  std::uint64_t fetch_ns = 0;       ///< the process starts and fetches all io commands
  std::uint64_t start_ns = 0;       ///< START_DEV, and the disk's node appears
};

/// What Server::recover() would refuse, as far as it can be seen while the old server lives.
Result<> check_takeover(const ServeOptions& options);

class Server {
 public:
  /// Adds the devices, starts the process and waits until each /dev/ublkbN can be opened. Whatever
  /// fails, no device and no process is left.
  static Result<Server> start(const ServeOptions& options);

  /// Serves a device that waits for a server, or will within `timeout_ns`. Refuses a target that is
  /// not what the device had. Whatever fails, the device goes on waiting.
  /// `lock` is the device's, if the caller has it already.
  static Result<Server> recover(const ServeOptions& options,
                                std::uint64_t timeout_ns = control::default_timeout_ns,
                                std::optional<control::DeviceLock> lock = std::nullopt);

  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// As kill().
  ~Server();

  /// Orderly end: the disk goes away, the daemons finish, the device is removed. Bounded; the error
  /// says what was waited for.
  Result<> stop(std::uint64_t timeout_ns = control::default_timeout_ns);

  /// Forced end: the process is killed, the driver fails what it held, the device is removed.
  Result<> kill(std::uint64_t timeout_ns = control::default_timeout_ns);

  /// Waits for the process to end by itself; its error if it failed. For `ublk-server add`.
  Result<> wait();

  /// As wait(), but returns nothing when the process goes on: it said that one of its devices was
  /// stopped, which is removed unless `keep`.
  std::optional<Result<>> attend(bool keep);

  /// Leaves the devices as they are; for one that waits for another server, or has it already.
  void let_go() { ids_.clear(); }

  /// The first device; -1 when there is none any more.
  [[nodiscard]] int id() const { return ids_.empty() ? -1 : ids_.front(); }
  [[nodiscard]] std::span<const int> ids() const { return ids_; }
  [[nodiscard]] const StartTimes& times() const { return times_; }
  [[nodiscard]] std::string block_path() const;
  [[nodiscard]] pid_t process() const { return process_.pid(); }
  [[nodiscard]] const ublksrv_ctrl_dev_info& device() const { return device_; }
  [[nodiscard]] std::span<const DaemonCounters> counters() const { return counters_; }
  /// shmem_zc: the file whose mapping a client must do its I/O in; empty in other modes. It is open
  /// as long as this object lives.
  [[nodiscard]] std::string shared_memory_path() const;
  /// Readable when the process said something or ended.
  [[nodiscard]] int event_fd() const { return channel_.fd(); }

 private:
  Server() = default;
  [[nodiscard]] bool owns(int id) const;
  /// Takes the locks of all devices that there are; stays without one past the bound.
  Result<> lock_all(std::uint64_t timeout_ns);
  void drop_foreign_numbers();
  Result<> open_metadata(const ServeOptions& options, const ublk_params& params,
                         MetadataStore::Missing missing);
  Result<> set_up(const ServeOptions& options, std::vector<std::unique_ptr<Target>> targets);
  /// Takes back what set_up() did before it failed; says so if something stays.
  Error undone(Error why);
  Result<ServedDevice> add_device(const ServeOptions& options, std::unique_ptr<Target> target,
                                  unsigned number);
  [[nodiscard]] DeviceRecord record(const ServeOptions& options, const ServedDevice& served,
                                    unsigned number) const;
  Result<> take_over(const ServeOptions& options, ServedDevice device, std::uint64_t deadline_ns);
  Result<> spawn(const ServeOptions& options, std::vector<ServedDevice> devices);
  /// Makes the shared memory and tells the driver of it.
  Result<> share_memory(const ServeOptions& options);
  /// Finds that of the server before, which the driver knows.
  Result<> find_shared_memory(const ServeOptions& options);
  Result<> map_shared_memory(const ServeOptions& options);
  Result<> bring_up();
  /// What the process said meanwhile, if it did: the cause of a command's failure.
  Result<> explained(Result<> failed_command);
  Result<> end(Result<Message> last);
  void remove_released(int id);
  /// Waits for the end of the process; its status.
  Result<int> reap(std::uint64_t timeout_ns);
  /// To our own stderr, once the process is gone; while it lived it held none of our caller's.
  void pass_on_what_it_said();
  Result<> remove_all(std::uint64_t timeout_ns);

  control::DeviceWatch watch_;              ///< the server process has it, too
  std::vector<control::DeviceLock> locks_;  ///< while something is done to the devices
  ublksrv_ctrl_dev_info device_{};
  std::vector<int> ids_;  ///< of the devices that there still are
  StartTimes times_;
  process::Child process_;
  std::optional<process::OutputFile> said_;  ///< what the process wrote to stderr
  Mapping shared_;                           ///< the counters
  Fd shared_memory_file_;                    ///< shmem_zc
  Mapping shared_memory_;
  std::optional<MetadataStore> metadata_;
  std::span<DaemonCounters> counters_;
  ChannelReader channel_;
};

}  // namespace ublkbench
