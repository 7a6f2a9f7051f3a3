// SPDX-License-Identifier: MIT
#include "bench/targets/nbd_lane.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/targets/file_steps.hpp"

namespace ublkbench {
namespace {

/// Requests of one send chain; two pieces each, of the IOV_MAX that a message may have.
constexpr std::size_t max_chain = 256;

/// BLK_STS_TRANSPORT: clients see ENOLINK, which no disk's own error is.
constexpr std::int32_t server_is_gone = -ENOLINK;

}  // namespace

NbdLane::NbdLane(const LaneSetup& setup, std::string server, Fd socket, Fd bounce_file,
                 Mapping bounce_memory, unsigned silence_limit_s)
    : rings_(setup.rings),
      index_(setup.completion_index),
      unparker_(*setup.unparker),
      counters_(setup.counters != nullptr ? *setup.counters : unread_),
      max_bytes_(setup.max_bytes),
      server_(std::move(server)),
      socket_(std::move(socket)),
      bounce_file_(std::move(bounce_file)),
      bounce_memory_(std::move(bounce_memory)),
      silence_limit_s_(silence_limit_s),
      pending_(setup.slots),
      queued_(std::bit_ceil(setup.slots)),
      chain_max_(std::min<std::size_t>(setup.slots, max_chain)),
      buffer_(buffer_bytes) {
  chain_.reserve(chain_max_);
  done_.reserve(chain_max_);
  vector_.reserve(2 * chain_max_);
}

Result<> NbdLane::start() {
  const int files[] = {socket_.get(), bounce_file_.get()};
  const int ret = io_uring_register_files_update(
      rings_.service->raw(), static_cast<unsigned>(rings_.first_file), files, 2);
  if (ret != 2) return failed("io_uring_register files update", "for target nbd", -ret);
  receive_more();
  return {};
}

// --- requests ------------------------------------------------------------------------------------

void NbdLane::queue(const Request& request, const Data& data, Chain& chain) noexcept {
  if (failed_) return chain.complete(server_is_gone);
  if (nbd::command_of(request.op) == 0xffff) return chain.complete(-EOPNOTSUPP);
  if (data.place != Data::Place::registered) return send(request, data.memory, chain);
  std::byte* const bounce = bounce_of(chain.slot());
  if (request.op == Op::write) {
    Request copy = request;
    copy.fua = false;
    copy.offset = static_cast<std::uint64_t>(bounce - bounce_memory_.data());
    queue_transfer(chain, bounce_number, copy, data);
    return chain.resume_at(in_bounce);
  }
  if (request.op == Op::read) chain.resume_at(in_reply);
  send(request, bounce, chain);
}

void NbdLane::resume(std::uint8_t stage, const Request& request, const Data& data,
                     Chain& chain) noexcept {
  const std::int32_t result = chain.result();
  chain.set_result(0);
  if (result != static_cast<std::int32_t>(request.bytes)) return chain.complete(-EIO);
  if (stage == in_bounce) {
    if (failed_) return chain.complete(server_is_gone);
    return send(request, bounce_of(chain.slot()), chain);
  }
  Request copy = request;
  copy.offset = static_cast<std::uint64_t>(bounce_of(chain.slot()) - bounce_memory_.data());
  queue_transfer(chain, bounce_number, copy, data);
}

/// A reply came, or none will.
void NbdLane::settle(std::uint32_t slot, std::int32_t result) {
  Pending& pending = pending_[slot];
  pending.result = result;
  pending.answered = true;
  if (!pending.sending) unpark(slot);
}

void NbdLane::unpark(std::uint32_t slot) {
  Pending& pending = pending_[slot];
  pending.waiting = false;
  pending.answered = false;
  --in_flight_;
  count();
  unparker_.unpark(slot, pending.result);
}

// --- sending -------------------------------------------------------------------------------------

void NbdLane::send(const Request& request, std::byte* memory, Chain& chain) {
  const std::uint32_t slot = chain.slot();
  Pending& pending = pending_[slot];
  ++pending.generation;
  pending.op = request.op;
  pending.memory = memory;
  pending.bytes = request.bytes;
  pending.waiting = true;
  pending.answered = false;
  nbd::encode_request(pending.header.data(), request,
                      static_cast<std::uint64_t>(pending.generation) << 32 | slot);
  chain.park();
  ++in_flight_;
  queued_[queued_tail_++ & (queued_.size() - 1)] = slot;
  pump();
  count();
  arm_tick();
}

/// The kernel reads message and vector when it takes the SQE: until the task enters it, requests
/// can still join.
bool NbdLane::chain_is_open() const {
  return chain_busy_ && first_unsent_ == 0 && rings_.service->counters().enters == enters_at_chain_;
}

void NbdLane::pump() {
  if (failed_) return;
  const bool open = chain_is_open();
  if (chain_busy_ && !open) {
    counters_.send_sqe_chain_busy.add(1);
    return;
  }
  while (queued_head_ != queued_tail_ && chain_.size() < chain_max_)
    add_to_chain(queued_[queued_head_++ & (queued_.size() - 1)]);
  message_.msg_iov = vector_.data() + first_unsent_;
  message_.msg_iovlen = vector_.size() - first_unsent_;
  if (!open && !chain_.empty()) submit_chain();
}

void NbdLane::add_to_chain(std::uint32_t slot) {
  Pending& pending = pending_[slot];
  pending.sending = true;
  if (!chain_.empty()) counters_.chained_send_ios.add(1);
  chain_.push_back(slot);
  vector_.push_back({.iov_base = pending.header.data(), .iov_len = pending.header.size()});
  if (pending.op == Op::write)
    vector_.push_back({.iov_base = pending.memory, .iov_len = pending.bytes});
}

void NbdLane::submit_chain() {
  io_uring_sqe* const sqe = rings_.service->sqe();
  io_uring_prep_sendmsg(sqe, rings_.first_file + socket_number, &message_,
                        MSG_WAITALL | MSG_NOSIGNAL);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = encode({.owner = Owner::target, .phase = sent, .length = 0, .index = index_});
  chain_busy_ = true;
  enters_at_chain_ = rings_.service->counters().enters;
}

void NbdLane::chain_sent(std::int32_t result) {
  chain_busy_ = false;
  if (result <= 0 && !failed_) fail(result == 0 ? "took nothing" : std::strerror(-result));
  if (!failed_) {
    moved_ = true;
    drop_sent_bytes(static_cast<std::size_t>(result));
    if (first_unsent_ < vector_.size()) return pump();
  }
  // unpark() may lead back to send(), which starts the next chain.
  done_.clear();
  done_.swap(chain_);
  vector_.clear();
  first_unsent_ = 0;
  for (const std::uint32_t slot : done_) {
    Pending& pending = pending_[slot];
    pending.sending = false;
    if (failed_ && !pending.answered) pending.result = server_is_gone;
    if (failed_ || pending.answered) unpark(slot);
  }
  if (!chain_busy_) pump();
}

void NbdLane::drop_sent_bytes(std::size_t bytes) {
  while (bytes != 0) {
    iovec& piece = vector_[first_unsent_];
    const std::size_t taken = std::min(bytes, piece.iov_len);
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + taken;
    piece.iov_len -= taken;
    bytes -= taken;
    if (piece.iov_len == 0) ++first_unsent_;
  }
}

// --- receiving -----------------------------------------------------------------------------------

void NbdLane::receive(std::byte* to, std::size_t bytes, int flags) {
  io_uring_sqe* const sqe = rings_.service->sqe();
  io_uring_prep_recv(sqe, rings_.first_file + socket_number, to, bytes, flags);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data =
      encode({.owner = Owner::target, .phase = received, .length = 0, .index = index_});
}

void NbdLane::receive_more() {
  std::memmove(buffer_.data(), buffer_.data() + parsed_, filled_ - parsed_);
  filled_ -= parsed_;
  parsed_ = 0;
  receive(buffer_.data() + filled_, buffer_.size() - filled_, 0);
}

void NbdLane::bytes_received(std::int32_t result) {
  const bool straight = receiving_payload_;
  receiving_payload_ = false;
  if (result <= 0) fail(result == 0 ? "closed the connection" : std::strerror(-result));
  if (failed_) return fail_waiting();
  moved_ = true;
  if (straight)
    payload_arrived(static_cast<std::size_t>(result));
  else
    filled_ += static_cast<std::size_t>(result);
  if (!parse_buffer()) return fail("answers with garbage");
  if (payload_left_ == 0) return receive_more();
  const Pending& pending = pending_[reading_slot_];
  receiving_payload_ = true;
  receive(pending.memory + (pending.bytes - payload_left_), payload_left_, MSG_WAITALL);
}

/// Uses up what the buffer holds, but for the head of a reply; false if it is no NBD reply.
bool NbdLane::parse_buffer() {
  for (;;) {
    if (payload_left_ != 0) take_payload();
    if (filled_ - parsed_ < nbd::reply_bytes) return true;
    const nbd::Reply reply = nbd::decode_reply(buffer_.data() + parsed_);
    parsed_ += nbd::reply_bytes;
    if (!take_reply(reply)) return false;
  }
}

bool NbdLane::take_reply(const nbd::Reply& reply) {
  const auto slot = static_cast<std::uint32_t>(reply.cookie);
  if (reply.magic != nbd::reply_magic || slot >= pending_.size()) return false;
  const Pending& pending = pending_[slot];
  if (!pending.waiting || pending.answered || pending.generation != reply.cookie >> 32)
    return false;
  if (reply.error != 0) {
    settle(slot, nbd::errno_of(reply.error));
  } else if (pending.op == Op::read) {
    reading_slot_ = slot;
    payload_left_ = pending.bytes;
  } else {
    settle(slot, pending.op == Op::write ? static_cast<std::int32_t>(pending.bytes) : 0);
  }
  return true;
}

void NbdLane::take_payload() {
  const Pending& pending = pending_[reading_slot_];
  const std::size_t bytes = std::min(payload_left_, filled_ - parsed_);
  std::memcpy(pending.memory + (pending.bytes - payload_left_), buffer_.data() + parsed_, bytes);
  parsed_ += bytes;
  payload_arrived(bytes);
}

void NbdLane::payload_arrived(std::size_t bytes) {
  payload_left_ -= bytes;
  if (payload_left_ != 0) return;
  const std::uint32_t slot = std::exchange(reading_slot_, nobody);
  settle(slot, static_cast<std::int32_t>(pending_[slot].bytes));
}

// --- the end -------------------------------------------------------------------------------------

/// From here on every request fails. What the kernel still reads or writes is waited for: shutting
/// the socket down ends it.
void NbdLane::fail(std::string_view why) {
  if (failed_) return;
  failed_ = true;
  std::fprintf(stderr, "NBD server %s %.*s; requests fail with ENOLINK from now on\n",
               server_.c_str(), static_cast<int>(why.size()), why.data());
  ::shutdown(socket_.get(), SHUT_RDWR);
  queued_head_ = queued_tail_;
  fail_waiting();
}

void NbdLane::fail_waiting() {
  for (std::uint32_t slot = 0; slot < pending_.size(); ++slot) {
    Pending& pending = pending_[slot];
    const bool in_use = pending.sending || (receiving_payload_ && reading_slot_ == slot);
    if (!pending.waiting || in_use) continue;
    pending.result = server_is_gone;
    unpark(slot);
  }
}

/// Once a second while requests wait: a server that neither takes nor sends a byte is gone, too.
void NbdLane::arm_tick() {
  if (tick_armed_ || failed_) return;
  io_uring_sqe* const sqe = rings_.service->sqe();
  io_uring_prep_timeout(sqe, &tick_time_, 0, 0);
  sqe->user_data = encode({.owner = Owner::target, .phase = ticked, .length = 0, .index = index_});
  tick_armed_ = true;
}

void NbdLane::tick() {
  tick_armed_ = false;
  silent_s_ = moved_ || in_flight_ == 0 ? 0 : silent_s_ + 1;
  moved_ = false;
  if (in_flight_ == 0) return;
  if (silent_s_ >= silence_limit_s_) return fail(formatted("was silent for {} s", silent_s_));
  arm_tick();
}

void NbdLane::count() { counters_.in_flight_ios.set(in_flight_); }

void NbdLane::completion(const io_uring_cqe& cqe, const UserData& data) noexcept {
  switch (static_cast<Phase>(data.phase)) {
    case sent:
      return chain_sent(cqe.res);
    case received:
      return bytes_received(cqe.res);
    case ticked:
      return tick();
  }
}

}  // namespace ublkbench
