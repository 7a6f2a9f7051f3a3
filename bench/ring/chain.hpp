// SPDX-License-Identifier: MIT
// The SQEs that one request has in flight: how many completions are still due, and what they add
// up to. The state lives in the request's slot from delivery to commit; a Chain is the view
// through which a target or a data path adds to it.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "bench/ring/ring.hpp"
#include "bench/ring/user_data.hpp"

namespace ublkbench {

/// What came of a chain so far. The first error wins; bytes add up while there is none.
/// One word, so that a request starts with one store.
struct alignas(8) ChainState {
  std::int32_t result = 0;    ///< bytes served, or the first negative errno
  std::uint16_t pending = 0;  ///< completions still due
  std::uint8_t stage = 0;     ///< the target's own note for its next turn; 0: it has none
  std::uint8_t flags = 0;

  static constexpr std::uint8_t parked = 1;  ///< waits for something that is not an SQE of its own
  static constexpr std::uint8_t released = 2;  ///< the data path has taken the data back

  void add_result(std::int32_t value) {
    if (result < 0) return;
    result = value < 0 ? value : result + value;
  }
};
static_assert(sizeof(ChainState) == 8);

/// What a step's result means.
enum class StepKind : std::uint8_t {
  data = 0,  ///< bytes of the request's data
  service,   ///< success or an errno
  timer,     ///< -ETIME is what it waits for
  whole,     ///< as data, but anything short of what queued_whole() was told is -EIO
};

/// The rings that a request's SQEs go to, and where the target's files are in their tables.
struct ChainRings {
  Ring* io = nullptr;  ///< reads and writes
  /// Whatever a ring that polls refuses (io_uring/opdef.c: no iopoll): fsync, fallocate, timeouts.
  /// The same ring where nothing polls.
  Ring* service = nullptr;
  int first_file = 0;  ///< index of the target's first file in both rings' fixed files
};

class Chain {
 public:
  Chain(const ChainRings& rings, ChainState& state, std::uint32_t slot)
      : rings_(rings), state_(state), slot_(slot) {}

  /// An SQE of this request for a read or a write. The caller preps it with a liburing helper and
  /// then calls queued(), because those helpers clear user_data.
  io_uring_sqe* step() { return rings_.io->sqe(); }
  /// The same for every other operation.
  io_uring_sqe* service_step() { return rings_.service->sqe(); }
  /// As step(), for callers that fill the whole SQE themselves (Ring::uncleared_sqe()).
  io_uring_sqe* uncleared_step() { return rings_.io->uncleared_sqe(); }

  void queued(io_uring_sqe* sqe, StepKind kind) {
    sqe->user_data = encode({.owner = Owner::step,
                             .phase = static_cast<std::uint8_t>(kind),
                             .length = 0,
                             .index = slot_});
    ++state_.pending;
  }

  /// As queued() for one of several reads or writes that make up a request: were one of them short,
  /// their sum would not say which bytes are missing. `bytes` are whole sectors, 32 MiB at most.
  void queued_whole(io_uring_sqe* sqe, std::uint64_t bytes) {
    sqe->user_data = encode({.owner = Owner::step,
                             .phase = static_cast<std::uint8_t>(StepKind::whole),
                             .length = static_cast<std::uint16_t>((bytes >> 9) - 1),
                             .index = slot_});
    ++state_.pending;
  }

  /// The request needs no SQE: `result` is bytes served or a negative errno.
  void complete(std::int32_t result) { state_.add_result(result); }

  /// Has the target called again, by TargetLane::resume(), once all that is in flight completed.
  /// `stage` is 1 to 255 and its own.
  void resume_at(std::uint8_t stage) { state_.stage = stage; }

  [[nodiscard]] std::uint8_t stage() const { return state_.stage; }

  /// The request goes on by Unparker::unpark(), not by a completion of its own.
  void park() {
    ++state_.pending;
    state_.flags |= ChainState::parked;
  }

  /// The key of this request for unpark(): below LaneSetup::slots, its own until its commit.
  [[nodiscard]] std::uint32_t slot() const { return slot_; }
  /// The target's file number `file` in the rings' tables of fixed files.
  [[nodiscard]] int file(int file) const { return rings_.first_file + file; }
  [[nodiscard]] bool in_flight() const { return state_.pending != 0; }
  [[nodiscard]] std::int32_t result() const { return state_.result; }
  /// For a target that starts over or overrides what its steps added up to.
  void set_result(std::int32_t result) { state_.result = result; }

 private:
  const ChainRings& rings_;
  ChainState& state_;
  std::uint32_t slot_;
};

/// How a parked request goes on.
class Unparker {
 public:
  Unparker() = default;
  Unparker(const Unparker&) = delete;
  Unparker& operator=(const Unparker&) = delete;

  /// Called by the task that owns the lane; `result` is added as a step's would be.
  virtual void unpark(std::uint32_t slot, std::int32_t result) noexcept = 0;

 protected:
  ~Unparker() = default;
};

/// Takes a step's completion; true when it was the last one due.
inline bool settle_step(ChainState& state, const UserData& data, std::int32_t result) {
  switch (static_cast<StepKind>(data.phase)) {
    [[likely]] case StepKind::data:
      state.add_result(result);
      break;
    case StepKind::service:
      state.add_result(std::min(result, 0));
      break;
    case StepKind::timer:
      state.add_result(result == -ETIME ? 0 : std::min(result, 0));
      break;
    case StepKind::whole:
      state.add_result(result < 0 || result == (data.length + 1) << 9 ? result : -EIO);
      break;
  }
  return --state.pending == 0;
}

}  // namespace ublkbench
