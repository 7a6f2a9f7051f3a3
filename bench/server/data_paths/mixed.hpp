// SPDX-License-Identifier: MIT
// UBLK_F_USER_COPY and UBLK_F_AUTO_BUF_REG on one device: small requests are copied, large ones use
// the pages that the driver registered. It registers all of them, because it does not know which
// the server will use.
#pragma once

#include "bench/server/data_paths/auto_zero_copy.hpp"
#include "bench/server/data_paths/user_copy.hpp"

namespace ublkbench {

class MixedPath : public PlainDataPath {
 public:
  static constexpr AddressKind address_kind = AddressKind::auto_register;
  static constexpr unsigned table_slots = 1;
  static constexpr bool can_fail = true;

  explicit MixedPath(std::uint32_t zero_copy_from_bytes)
      : zero_copy_from_bytes_(zero_copy_from_bytes) {}

  [[nodiscard]] static std::uint64_t address(const IoSlot&, std::uint32_t index) { return index; }
  void acquire(const Request& request, const IoSlot& slot, std::uint32_t index, Chain& chain,
               DaemonCounters& counters) const {
    if (copies(request)) UserCopyPath::acquire(request, slot, index, chain, counters);
  }
  [[nodiscard]] Data data(const Request& request, const IoSlot& slot, std::uint32_t index) const {
    return copies(request) ? UserCopyPath::data(request, slot, index)
                           : AutoZeroCopyPath::data(request, slot, index);
  }
  void release(const Request& request, const IoSlot& slot, std::uint32_t index,
               Chain& chain) const {
    if (copies(request)) UserCopyPath::release(request, slot, index, chain);
  }

 private:
  [[nodiscard]] bool copies(const Request& request) const {
    return request.bytes < zero_copy_from_bytes_;
  }

  std::uint32_t zero_copy_from_bytes_;
};
static_assert(DataPath<MixedPath>);

}  // namespace ublkbench
