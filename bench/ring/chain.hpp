// SPDX-License-Identifier: MIT
// The SQEs that one request has in flight: how many completions are still due, and what they add
// up to. The state lives in the request's slot from delivery to commit; a Chain is the view
// through which a target or a data path adds to it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bench/ring/ring.hpp"
#include "bench/ring/user_data.hpp"

namespace ublkbench {

/// What came of a chain so far. The first error wins; bytes add up while there is none.
/// One word, so that a request starts with one store.
struct alignas(8) ChainState {
  std::int32_t result = 0;    ///< bytes served, or the first negative errno
  std::uint16_t pending = 0;  ///< completions still due
  std::uint8_t phase = 0;     ///< the daemon's own note of what the chain is doing
  std::uint8_t reserved = 0;

  void add_result(std::int32_t value) {
    if (result < 0) return;
    result = value < 0 ? value : result + value;
  }
};

/// Whether a step's result counts bytes of the request's data or only success.
enum class StepKind : std::uint8_t { data = 0, service = 1 };

class Chain {
 public:
  Chain(Ring& ring, ChainState& state, std::uint32_t slot)
      : ring_(ring), state_(state), slot_(slot) {}

  /// An SQE of this request. The caller preps it with a liburing helper and then calls queued(),
  /// because those helpers clear user_data.
  io_uring_sqe* step() { return ring_.sqe(); }

  void queued(io_uring_sqe* sqe, StepKind kind) {
    sqe->user_data = encode({.owner = Owner::step,
                             .phase = static_cast<std::uint8_t>(kind),
                             .length = 0,
                             .index = slot_});
    ++state_.pending;
  }

  /// The request needs no SQE: `result` is bytes served or a negative errno.
  void complete(std::int32_t result) { state_.add_result(result); }

  [[nodiscard]] bool in_flight() const { return state_.pending != 0; }

 private:
  Ring& ring_;
  ChainState& state_;
  std::uint32_t slot_;
};

/// Takes a step's completion; true when it was the last one due.
inline bool settle_step(ChainState& state, const UserData& data, std::int32_t result) {
  const bool counts = static_cast<StepKind>(data.phase) == StepKind::data;
  state.add_result(counts ? result : std::min(result, 0));
  return --state.pending == 0;
}

}  // namespace ublkbench
