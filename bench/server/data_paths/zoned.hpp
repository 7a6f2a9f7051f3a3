// SPDX-License-Identifier: MIT
// UBLK_F_ZONED over another data path: appends carry data as writes do, reports of zones as reads
// do, and a result says where an append went.
#pragma once

#include "bench/server/data_path.hpp"

namespace ublkbench {

template <class Base>
class ZonedPath : public Base {
 public:
  static constexpr bool zoned = true;

  /// `append_sectors` is one entry an io command, which the target's lane writes for an append; for
  /// all else the driver wants 0 (ublk_check_commit_and_fetch).
  ZonedPath(const Base& base, std::uint64_t* append_sectors)
      : Base(base), append_sectors_(append_sectors) {}

  [[nodiscard]] std::uint64_t append_sector(std::uint32_t index) const {
    return append_sectors_[index];
  }
  void acquire(const Request& request, const IoSlot& slot, std::uint32_t index, Chain& chain,
               DaemonCounters& counters) const {
    append_sectors_[index] = 0;
    Base::acquire(as_transfer(request), slot, index, chain, counters);
  }
  [[nodiscard]] Data data(const Request& request, const IoSlot& slot, std::uint32_t index) const {
    return Base::data(as_transfer(request), slot, index);
  }
  void release(const Request& request, const IoSlot& slot, std::uint32_t index,
               Chain& chain) const {
    Base::release(as_transfer(request), slot, index, chain);
  }

 private:
  static Request as_transfer(const Request& request) {
    Request transfer = request;
    if (request.op == Op::zone_append) transfer.op = Op::write;
    if (request.op == Op::report_zones) transfer.op = Op::read;
    return transfer;
  }

  std::uint64_t* append_sectors_;
};

}  // namespace ublkbench
