// SPDX-License-Identifier: MIT
// What serves a request's data. A target sees where the data is, never the device's mode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/counter.hpp"
#include "bench/base/result.hpp"
#include "bench/ring/chain.hpp"

namespace ublkbench {

/// The operations of a request; the values are UBLK_IO_OP_* (asserted in bench/server).
enum class Op : std::uint8_t {
  read = 0,
  write = 1,
  flush = 2,
  discard = 3,
  write_zeroes = 5,
  zone_open = 10,
  zone_close = 11,
  zone_finish = 12,
  zone_append = 13,
  zone_reset_all = 14,
  zone_reset = 15,
  report_zones = 18,  ///< Request::bytes is 512 times the zones that are asked for
};

struct Request {
  Op op = Op::read;
  bool fua = false;  ///< data must be on stable storage before completion
  std::uint32_t bytes = 0;
  std::uint64_t offset = 0;  ///< bytes from the start of the device
};

/// Where a request's data is: in this process's memory, or in a buffer that the kernel registered
/// with the daemon's ring and that only SQEs can reach. They address its bytes by offset
/// (io_uring/rsrc.c, io_import_reg_buf), so `memory` is 0 at its start.
struct Data {
  enum class Place : std::uint8_t { none, memory, registered };
  Place place = Place::none;
  std::uint16_t index = 0;      ///< registered: slot in the ring's buffer table
  std::byte* memory = nullptr;  ///< `Request::bytes` bytes; registered: an offset, not an address

  /// The same data without its first `bytes` bytes.
  [[nodiscard]] Data from(std::uint64_t bytes) const {
    Data rest = *this;
    // By way of a number: an offset from 0 is no pointer arithmetic.
    rest.memory = reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(memory) + bytes);
    return rest;
  }
};

/// Whose data a target holds: without the user's leave nothing writes to what is the user's.
enum class DataOwner : std::uint8_t {
  none,  ///< it stores nothing
  run,   ///< made with the target, and gone with it
  user,  ///< it was there before, or may be somebody's
};

/// What a target is opened for.
struct TargetUse {
  bool writes = true;  ///< else its files are opened for reading, and the shape is read-only
  bool holds = true;   ///< refuses what others use, and keeps others that hold from using it
  bool probes = true;  ///< tries out what its files can do, which may move their change times
};
/// To learn shape and owner: nothing is held, tried or changed.
inline constexpr TargetUse look_only{.writes = true, .holds = false, .probes = false};

/// What the block device looks like to its users.
struct DeviceShape {
  std::uint64_t bytes = 0;
  unsigned logical_block_shift = 9;
  unsigned physical_block_shift = 12;
  unsigned dma_alignment = 511;  ///< mask of the addresses that data may start at
  bool volatile_cache = false;   ///< flush means something
  bool fua = false;
  bool discard = false;
  bool write_zeroes = false;
  bool read_only = false;
  std::uint64_t zone_bytes = 0;  ///< 0: not zoned
  std::uint64_t zone_capacity_bytes = 0;
  unsigned max_open_zones = 0;    ///< 0: no limit
  unsigned max_active_zones = 0;  ///< 0: no limit
};

/// Which io command of the device a slot is.
struct IoTag {
  std::uint16_t queue = 0;
  std::uint16_t tag = 0;
};

/// What targets with a connection count, for whoever has to find out where requests are.
struct TargetCounters {
  Counter in_flight_ios;        ///< now: sent, or waiting to be, and without a reply
  Counter chained_send_ios;     ///< ever: sent in a chain behind another request
  Counter send_sqe_chain_busy;  ///< ever: came while a send chain was on its way, and had to wait
};

/// What a lane gets from the task that it works for.
struct LaneSetup {
  ChainRings rings;
  std::uint32_t slots = 0;             ///< requests that can be in flight at once
  std::uint32_t max_bytes = 0;         ///< of one read or write
  Unparker* unparker = nullptr;        ///< how a parked request goes on
  unsigned index = 0;                  ///< which of the device's tasks this is
  std::uint32_t completion_index = 0;  ///< user_data's index in SQEs of the lane's own
  std::vector<IoTag> tags;             ///< of each slot
  /// Zoned devices: where an append's answer says at which sector its data went, by slot.
  std::uint64_t* append_sectors = nullptr;
  TargetCounters* counters = nullptr;
};

/// A target as one task uses it. Nothing here is called by two tasks.
class TargetLane {
 public:
  TargetLane() = default;
  TargetLane(const TargetLane&) = delete;
  TargetLane& operator=(const TargetLane&) = delete;
  virtual ~TargetLane() = default;

  /// Serves one request: completes it on the spot with chain.complete(), puts SQEs in flight, or
  /// parks it.
  virtual void queue(const Request& request, const Data& data, Chain& chain) noexcept = 0;

  /// The target's next turn, after chain.resume_at(stage): all that was in flight has completed,
  /// without an error. It calls resume_at() again if it wants one more.
  virtual void resume(std::uint8_t /*stage*/, const Request&, const Data&, Chain&) noexcept {}

  /// A completion with Owner::target, which the lane put in its SQE; the index is
  /// LaneSetup::completion_index, the length its own.
  virtual void completion(const io_uring_cqe&, const UserData&) noexcept {}
};

class Target {
 public:
  Target() = default;
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  virtual ~Target() = default;

  [[nodiscard]] virtual DeviceShape shape() const = 0;

  [[nodiscard]] virtual DataOwner data_owner() const = 0;

  /// How the data lies in the files: two targets of the same files hold the same data only if this
  /// is the same as well.
  [[nodiscard]] virtual std::string data_layout() const { return "plain"; }

  /// Paths of the files or disks that hold the data, where it is on this machine.
  [[nodiscard]] virtual std::vector<std::string> paths() const { return {}; }

  /// Files to register with each task's rings; Chain::file() gives their indices.
  [[nodiscard]] virtual std::vector<int> files() const { return {}; }

  /// Most SQEs that one request needs at once.
  [[nodiscard]] virtual unsigned max_steps() const { return 1; }

  /// Whether reads and writes of data at `place` can go through a ring that polls
  /// (IORING_SETUP_IOPOLL); the reason why not otherwise.
  [[nodiscard]] virtual Result<> pollable(Data::Place) const { return {}; }

  /// The file that holds the data as it is, byte for byte; -1 if there is no such file.
  [[nodiscard]] virtual int plain_file() const { return -1; }

  /// The lane of one more task; called by that task. The lane lives as long as the target.
  virtual Result<TargetLane*> open_lane(const LaneSetup& setup) = 0;
};

/// A target that keeps nothing per task: it is the lane of all of them, so queue() is called
/// concurrently for different requests.
class SharedTarget : public Target, public TargetLane {
 public:
  Result<TargetLane*> open_lane(const LaneSetup&) final { return this; }
};

/// Makes the target that `spec` names, as docs/targets.md describes. Errors name the spec.
Result<std::unique_ptr<Target>> make_target(std::string_view spec, const TargetUse& use = {});

/// One line per kind of target, for --help.
std::string target_help();
/// "mem:SIZE", of each kind.
std::vector<std::string> target_forms();

}  // namespace ublkbench
