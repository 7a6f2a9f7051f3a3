// SPDX-License-Identifier: MIT
// Data paths: how a request's data gets to where the target can use it, and back. One class each,
// in a file of its own; what they have in common is said here.
//
// A data path says what goes into the fetch and commit commands (address()), puts the data in place
// before the target's turn (acquire()), says where it is (data()), and takes it back after the
// target's turn (release()). What acquire() and release() put in flight posts no completion unless
// it fails: SQEs of one submission are issued in order, so the target's come in between.
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
  /// Slots per io command in the ring's table of buffers, which the kernel registers.
  { P::table_slots } -> std::convertible_to<unsigned>;
  /// acquire() and release() may complete the request with an error.
  { P::can_fail } -> std::convertible_to<bool>;
  /// release() only queues SQEs, which may be behind the target's in the same submission.
  { P::releases_early } -> std::convertible_to<bool>;
  /// Results carry the sector that an append went to (UBLK_F_ZONED).
  { P::zoned } -> std::convertible_to<bool>;
  { path.append_sector(index) } -> std::same_as<std::uint64_t>;
  /// The driver resumes a read that was served in part (__ublk_complete_rq: only where it copies).
  { path.resumes_short_reads(slot) } -> std::convertible_to<bool>;
  { path.address(slot, index) } -> std::same_as<std::uint64_t>;
  { path.acquire(request, slot, index, chain, counters) } -> std::same_as<void>;
  { path.data(request, slot, index) } -> std::same_as<Data>;
  { path.release(request, slot, index, chain) } -> std::same_as<void>;
};

/// What most data paths do: nothing, and without buffers.
struct PlainDataPath {
  static constexpr AddressKind address_kind = AddressKind::none;
  static constexpr unsigned table_slots = 0;
  static constexpr bool can_fail = false;
  static constexpr bool releases_early = false;
  static constexpr bool zoned = false;

  static constexpr std::uint64_t append_sector(std::uint32_t) { return 0; }
  static constexpr bool resumes_short_reads(const IoSlot&) { return false; }
  static constexpr std::uint64_t address(const IoSlot&, std::uint32_t) { return 0; }
  static void acquire(const Request&, const IoSlot&, std::uint32_t, Chain&, DaemonCounters&) {}
  static void release(const Request&, const IoSlot&, std::uint32_t, Chain&) {}
};

}  // namespace ublkbench
