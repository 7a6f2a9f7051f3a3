// SPDX-License-Identifier: MIT
// UBLK_F_AUTO_BUF_REG: the driver registers the request's pages at the io command's own index in
// the ring's buffer table before delivery, and unregisters them at commit.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/server/data_paths/zero_copy.hpp"

namespace ublkbench {

struct AutoZeroCopyPath : PlainDataPath {
  static constexpr AddressKind address_kind = AddressKind::auto_register;
  static constexpr unsigned table_slots = 1;

  [[nodiscard]] static std::uint64_t address(const IoSlot&, std::uint32_t index) { return index; }
  [[nodiscard]] static Data data(const Request& request, const IoSlot& slot, std::uint32_t index) {
    return ZeroCopyPath::data(request, slot, index);
  }
};

/// With UBLK_AUTO_BUF_REG_FALLBACK: where the driver could not register, the command is delivered
/// with UBLK_IO_F_NEED_REG_BUF and the server registers by itself.
/// Every `force_every`-th slot asks for an index that no table has, so that the fallback is taken.
class AutoZeroCopyFallbackPath : public PlainDataPath {
 public:
  static constexpr AddressKind address_kind = AddressKind::auto_register;
  static constexpr unsigned table_slots = 1;
  static constexpr bool releases_early = true;
  static constexpr std::uint64_t impossible_index = 0xffff;

  explicit AutoZeroCopyFallbackPath(std::uint32_t force_every) : force_every_(force_every) {}

  [[nodiscard]] std::uint64_t address(const IoSlot&, std::uint32_t index) const {
    const bool forced = force_every_ != 0 && index % force_every_ == 0;
    return (forced ? impossible_index : index) | UBLK_AUTO_BUF_REG_FALLBACK << 16;
  }
  static void acquire(const Request& request, const IoSlot& slot, std::uint32_t index, Chain& chain,
                      DaemonCounters& counters) {
    if (registers_by_hand(slot)) ZeroCopyPath::acquire(request, slot, index, chain, counters);
  }
  [[nodiscard]] static Data data(const Request& request, const IoSlot& slot, std::uint32_t index) {
    return ZeroCopyPath::data(request, slot, index);
  }
  static void release(const Request& request, const IoSlot& slot, std::uint32_t index,
                      Chain& chain) {
    if (registers_by_hand(slot)) ZeroCopyPath::release(request, slot, index, chain);
  }

 private:
  static bool registers_by_hand(const IoSlot& slot) {
    return (slot.descriptor->op_flags & UBLK_IO_F_NEED_REG_BUF) != 0;
  }

  std::uint32_t force_every_;
};

/// Each io command has two of the table's slots and asks for the other one at each commit: the
/// driver must unregister by the slot that it registered at, not by the one it is now given
/// (ublk_drv.c, __ublk_handle_auto_buf_reg()). To test the driver; nobody needs it otherwise.
class RotatingAutoZeroCopyPath : public PlainDataPath {
 public:
  static constexpr AddressKind address_kind = AddressKind::auto_register;
  static constexpr unsigned table_slots = 2;

  explicit RotatingAutoZeroCopyPath(std::uint32_t slots)
      : slots_(slots), turns_(std::make_shared<std::uint8_t[]>(slots)) {}

  [[nodiscard]] std::uint64_t address(const IoSlot&, std::uint32_t index) const {
    return index + turns_[index] * slots_;
  }
  [[nodiscard]] Data data(const Request& request, const IoSlot& slot, std::uint32_t index) const {
    return ZeroCopyPath::data(request, slot, index + turns_[index] * slots_);
  }
  void release(const Request&, const IoSlot&, std::uint32_t index, Chain&) const {
    turns_[index] ^= 1;
  }

 private:
  std::uint32_t slots_;
  std::shared_ptr<std::uint8_t[]> turns_;  // of all copies of this path, which take turns
};
static_assert(DataPath<RotatingAutoZeroCopyPath>);
static_assert(DataPath<AutoZeroCopyPath> && DataPath<AutoZeroCopyFallbackPath>);

}  // namespace ublkbench
