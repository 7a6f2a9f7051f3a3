// SPDX-License-Identifier: MIT
// Data paths: how a request's data gets to where the target can use it, and back.
//
// A data path says what goes into the fetch and commit commands (address()), puts the data in
// place before the target's turn (acquire(), may put SQEs in flight), says where it is (data()),
// and takes it back after the target's turn (release(), may put SQEs in flight).
#pragma once

#include <concepts>
#include <cstdint>

#include "bench/server/commands.hpp"
#include "bench/server/counters.hpp"
#include "bench/server/io_slot.hpp"

namespace ublkbench {

/// What the fetch and commit commands carry for an io command's data.
enum class AddressKind : std::uint8_t {
  none,
  buffer,         ///< the server's buffer; the driver copies
  auto_register,  ///< struct ublk_auto_buf_reg; the driver registers and unregisters
};

template <class P>
concept DataPath = requires(const P path, const Request& request, const IoSlot& slot,
                            std::uint32_t index, Chain& chain, DaemonCounters& counters) {
  { P::address_kind } -> std::convertible_to<AddressKind>;
  /// The driver resumes a read that was served in part (__ublk_complete_rq: only where it copies).
  { P::resumes_short_reads } -> std::convertible_to<bool>;
  { path.address(slot, index) } -> std::same_as<std::uint64_t>;
  { path.acquire(request, slot, index, chain, counters) } -> std::same_as<void>;
  { path.data(request, slot, index) } -> std::same_as<Data>;
  { path.release(request, slot, index, chain) } -> std::same_as<void>;
};

/// The driver copies between the request's pages and a buffer of the server.
struct CopyPath {
  static constexpr AddressKind address_kind = AddressKind::buffer;
  static constexpr bool resumes_short_reads = true;

  [[nodiscard]] std::uint64_t address(const IoSlot& slot, std::uint32_t) const {
    return reinterpret_cast<std::uintptr_t>(slot.buffer);
  }
  void acquire(const Request&, const IoSlot&, std::uint32_t, Chain&, DaemonCounters&) const {}
  [[nodiscard]] Data data(const Request&, const IoSlot& slot, std::uint32_t) const {
    return {.place = Data::Place::memory, .memory = slot.buffer};
  }
  void release(const Request&, const IoSlot&, std::uint32_t, Chain&) const {}
};

/// UBLK_F_AUTO_BUF_REG: the driver registers the request's pages at the slot's own index in the
/// ring's buffer table before delivery, and unregisters them at commit.
struct AutoZeroCopyPath {
  static constexpr AddressKind address_kind = AddressKind::auto_register;
  static constexpr bool resumes_short_reads = false;

  [[nodiscard]] std::uint64_t address(const IoSlot&, std::uint32_t index) const { return index; }
  void acquire(const Request&, const IoSlot&, std::uint32_t, Chain&, DaemonCounters&) const {}
  [[nodiscard]] Data data(const Request& request, const IoSlot&, std::uint32_t index) const {
    if (!carries_data(request.op)) return {};
    return {.place = Data::Place::registered, .index = static_cast<std::uint16_t>(index)};
  }
  void release(const Request&, const IoSlot&, std::uint32_t, Chain&) const {}
};

/// As AutoZeroCopyPath, with UBLK_AUTO_BUF_REG_FALLBACK: where the driver could not register, the
/// command is delivered with UBLK_IO_F_NEED_REG_BUF and the server registers by itself.
/// Every `force_every`-th slot asks for an index that no table has, so that the fallback is taken.
struct AutoZeroCopyFallbackPath {
  static constexpr AddressKind address_kind = AddressKind::auto_register;
  static constexpr bool resumes_short_reads = false;
  static constexpr std::uint64_t impossible_index = 0xffff;

  std::uint32_t force_every = 0;

  [[nodiscard]] std::uint64_t address(const IoSlot&, std::uint32_t index) const {
    const bool forced = force_every != 0 && index % force_every == 0;
    return (forced ? impossible_index : index) | UBLK_AUTO_BUF_REG_FALLBACK << 16;
  }
  void acquire(const Request&, const IoSlot& slot, std::uint32_t index, Chain& chain,
               DaemonCounters& counters) const {
    if (!registers_by_hand(slot)) return;
    queue_buffer_command(UBLK_U_IO_REGISTER_IO_BUF, slot, index, chain);
    counters.registered_by_hand.add(1);
  }
  [[nodiscard]] Data data(const Request& request, const IoSlot& slot, std::uint32_t index) const {
    return AutoZeroCopyPath{}.data(request, slot, index);
  }
  void release(const Request&, const IoSlot& slot, std::uint32_t index, Chain& chain) const {
    if (registers_by_hand(slot))
      queue_buffer_command(UBLK_U_IO_UNREGISTER_IO_BUF, slot, index, chain);
  }

 private:
  static bool registers_by_hand(const IoSlot& slot) {
    return (slot.descriptor->op_flags & UBLK_IO_F_NEED_REG_BUF) != 0;
  }
  static void queue_buffer_command(std::uint32_t op, const IoSlot& slot, std::uint32_t index,
                                   Chain& chain) {
    io_uring_sqe* const sqe = chain.step();
    prep_io_command(sqe, op, slot.queue_id, slot.tag, 0, index, 0, 0);
    chain.queued(sqe, StepKind::service);
  }
};

static_assert(DataPath<CopyPath> && DataPath<AutoZeroCopyPath> &&
              DataPath<AutoZeroCopyFallbackPath>);

}  // namespace ublkbench
