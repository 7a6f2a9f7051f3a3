// SPDX-License-Identifier: MIT
// UBLK_F_SUPPORT_ZERO_COPY: the server registers the request's pages in its ring's buffer table and
// unregisters them, by commands of its own.
//
// One submission holds REGISTER, the target's reads or writes, and UNREGISTER, without links: SQEs
// are issued in order, REGISTER and UNREGISTER are carried out while they are issued
// (ublk_ch_uring_cmd_local), and a read or write holds its buffer from its first issue to its end
// (io_uring/rsrc.c, io_find_buf_node), so taking it out of the table does not take it away. Linking
// the three would cost a trip through task work each, and more instructions than the copy saves.
#pragma once

#include "bench/server/data_path.hpp"

namespace ublkbench {

/// REGISTER_IO_BUF or UNREGISTER_IO_BUF for the table's slot `index`. Only a failure posts a
/// completion.
inline void queue_buffer_command(std::uint32_t op, const IoSlot& slot, std::uint32_t index,
                                 Chain& chain) {
  io_uring_sqe* const sqe = chain.uncleared_step();
  prep_io_command(sqe, slot.command, op, slot.queue_id, slot.tag, 0, index, 0,
                  encode(Owner::quiet, index));
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

struct ZeroCopyPath : PlainDataPath {
  static constexpr unsigned table_slots = 1;
  static constexpr bool releases_early = true;

  static void acquire(const Request& request, const IoSlot& slot, std::uint32_t index, Chain& chain,
                      DaemonCounters& counters) {
    if (!carries_data(request.op)) return;
    queue_buffer_command(UBLK_U_IO_REGISTER_IO_BUF, slot, index, chain);
    counters.registered_by_hand.add(1);
  }
  [[nodiscard]] static Data data(const Request& request, const IoSlot&, std::uint32_t index) {
    if (!carries_data(request.op)) return {};
    return {.place = Data::Place::registered, .index = static_cast<std::uint16_t>(index)};
  }
  static void release(const Request& request, const IoSlot& slot, std::uint32_t index,
                      Chain& chain) {
    if (carries_data(request.op))
      queue_buffer_command(UBLK_U_IO_UNREGISTER_IO_BUF, slot, index, chain);
  }
};
static_assert(DataPath<ZeroCopyPath>);

}  // namespace ublkbench
