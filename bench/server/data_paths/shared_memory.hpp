// SPDX-License-Identifier: MIT
// UBLK_F_SHMEM_ZC: where a request's pages belong to memory that client and server share and that
// was registered with the device, the server uses its own mapping of them; all else is copied.
#pragma once

#include "bench/server/data_paths/copy.hpp"

namespace ublkbench {

class SharedMemoryPath : public CopyPath {
 public:
  /// `base` is this process's mapping of the only registered region (REG_BUF), which has index 0.
  explicit SharedMemoryPath(std::byte* base) : base_(base) {}

  static bool resumes_short_reads(const IoSlot& slot) { return !shared(slot); }
  static void acquire(const Request& request, const IoSlot& slot, std::uint32_t, Chain&,
                      DaemonCounters& counters) {
    if (!carries_data(request.op)) return;
    (shared(slot) ? counters.shared_memory_hits : counters.shared_memory_misses).add(1);
  }
  [[nodiscard]] Data data(const Request& request, const IoSlot& slot, std::uint32_t index) const {
    if (!shared(slot)) return CopyPath::data(request, slot, index);
    return {.place = Data::Place::memory,
            .memory = base_ + ublk_shmem_zc_offset(slot.descriptor->addr)};
  }

 private:
  static bool shared(const IoSlot& slot) {
    return (slot.descriptor->op_flags & UBLK_IO_F_SHMEM_ZC) != 0;
  }

  std::byte* base_;
};
static_assert(DataPath<SharedMemoryPath>);

}  // namespace ublkbench
