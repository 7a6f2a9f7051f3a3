// SPDX-License-Identifier: MIT
// One connection to an NBD server, seen from the task that uses it.
//
// Requests wait parked for their replies. One send chain is on its way at a time: a sendmsg of the
// requests that came before the task entered the kernel, with those that came later queued behind
// it. Replies are received apart from that, in whatever order the server gives them: into a buffer,
// or, for what a reply has beyond it, straight to where the data belongs.
//
// Data in registered buffers, which a process cannot address, goes by way of a memfd: one more SQE
// each.
#pragma once

#include <sys/socket.h>

#include <array>
#include <string>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/targets/nbd_protocol.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

class NbdLane final : public TargetLane {
 public:
  NbdLane(const LaneSetup& setup, std::string server, Fd socket, Fd bounce_file,
          Mapping bounce_memory, unsigned silence_limit_s);

  /// Puts the connection into the rings' tables and starts to listen.
  Result<> start();

  void queue(const Request& request, const Data& data, Chain& chain) noexcept override;
  void resume(std::uint8_t stage, const Request& request, const Data& data,
              Chain& chain) noexcept override;
  void completion(const io_uring_cqe& cqe, const UserData& data) noexcept override;

 private:
  enum File : int { socket_number, bounce_number };
  enum Phase : std::uint8_t { sent, received, ticked };
  enum Stage : std::uint8_t { in_bounce = 1, in_reply };

  /// A request between queue() and its reply.
  struct Pending {
    std::array<std::byte, nbd::request_bytes> header{};
    std::byte* memory = nullptr;
    std::uint32_t bytes = 0;       ///< of data, either way
    std::uint32_t generation = 0;  ///< tells replies of this use of the slot from earlier ones
    std::int32_t result = 0;
    Op op = Op::read;
    bool waiting = false;   ///< parked
    bool sending = false;   ///< in the send chain on its way, which reads header and memory
    bool answered = false;  ///< `result` holds, but the send chain is not done with it
  };

  // Sending.
  void send(const Request& request, std::byte* memory, Chain& chain);
  void pump();
  [[nodiscard]] bool chain_is_open() const;
  void add_to_chain(std::uint32_t slot);
  void submit_chain();
  void chain_sent(std::int32_t result);
  void drop_sent_bytes(std::size_t bytes);

  // Receiving.
  void receive(std::byte* to, std::size_t bytes, int flags);
  void receive_more();
  void bytes_received(std::int32_t result);
  bool parse_buffer();
  bool take_reply(const nbd::Reply& reply);
  void take_payload();
  void payload_arrived(std::size_t bytes);

  void settle(std::uint32_t slot, std::int32_t result);
  void unpark(std::uint32_t slot);
  void fail(std::string_view why);
  void fail_waiting();
  void arm_tick();
  void tick();
  void count();

  [[nodiscard]] std::byte* bounce_of(std::uint32_t slot) const {
    return bounce_memory_.data() + static_cast<std::size_t>(slot) * max_bytes_;
  }

  ChainRings rings_;
  std::uint32_t index_;  // of completions of its own
  Unparker& unparker_;
  TargetCounters& counters_;
  TargetCounters unread_;  ///< where nobody asked for them
  std::uint32_t max_bytes_;
  std::string server_;
  Fd socket_;
  Fd bounce_file_;
  Mapping bounce_memory_;
  unsigned silence_limit_s_;

  std::vector<Pending> pending_;
  std::uint32_t in_flight_ = 0;
  bool failed_ = false;

  // The send chain, and the requests behind it: a ring with a place for each slot.
  std::vector<std::uint32_t> queued_;
  std::uint32_t queued_head_ = 0;
  std::uint32_t queued_tail_ = 0;
  std::size_t chain_max_;
  std::vector<std::uint32_t> chain_;
  std::vector<std::uint32_t> done_;  ///< the chain before
  std::vector<iovec> vector_;
  std::size_t first_unsent_ = 0;  ///< in vector_
  msghdr message_{};
  bool chain_busy_ = false;
  std::uint64_t enters_at_chain_ = 0;

  static constexpr std::size_t buffer_bytes = 64 << 10;
  static constexpr std::uint32_t nobody = UINT32_MAX;
  std::vector<std::byte> buffer_;
  std::size_t filled_ = 0;
  std::size_t parsed_ = 0;
  std::uint32_t reading_slot_ = nobody;  ///< whose payload comes next
  std::size_t payload_left_ = 0;
  bool receiving_payload_ = false;  ///< straight to reading_slot_'s memory

  __kernel_timespec tick_time_{.tv_sec = 1, .tv_nsec = 0};
  bool tick_armed_ = false;
  bool moved_ = false;  ///< a byte went either way since the last tick
  unsigned silent_s_ = 0;
};

}  // namespace ublkbench
