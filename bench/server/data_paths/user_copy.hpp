// SPDX-License-Identifier: MIT
// UBLK_F_USER_COPY: the server copies with pread() and pwrite() on /dev/ublkcN, at an offset that
// names queue and tag.
//
// By system call and not by SQE: the device's file has no FMODE_NOWAIT (ublk_ch_open sets none), so
// io_uring would hand each copy to an io-wq worker.
#pragma once

#include <unistd.h>

#include <cerrno>

#include "bench/server/data_path.hpp"

namespace ublkbench {

struct UserCopyPath : PlainDataPath {
  static constexpr bool can_fail = true;

  static void acquire(const Request& request, const IoSlot& slot, std::uint32_t, Chain& chain,
                      DaemonCounters&) {
    if (request.op != Op::write) return;
    const ssize_t copied = ::pread(slot.char_device, slot.buffer, request.bytes, offset(slot));
    if (copied != static_cast<ssize_t>(request.bytes)) [[unlikely]]
      chain.set_result(copied < 0 ? -errno : -EIO);
  }
  [[nodiscard]] static Data data(const Request&, const IoSlot& slot, std::uint32_t) {
    return {.place = Data::Place::memory, .memory = slot.buffer};
  }
  static void release(const Request& request, const IoSlot& slot, std::uint32_t, Chain& chain) {
    const std::int32_t served = chain.result();
    if (request.op != Op::read || served <= 0) return;
    const ssize_t copied =
        ::pwrite(slot.char_device, slot.buffer, static_cast<std::size_t>(served), offset(slot));
    if (copied != served) [[unlikely]]
      chain.set_result(copied < 0 ? -errno : -EIO);
  }

 protected:
  static off_t offset(const IoSlot& slot) {
    return static_cast<off_t>(UBLKSRV_IO_BUF_OFFSET +
                              (static_cast<std::uint64_t>(slot.queue_id) << UBLK_QID_OFF) +
                              (static_cast<std::uint64_t>(slot.tag) << UBLK_TAG_OFF));
  }
};
static_assert(DataPath<UserCopyPath>);

}  // namespace ublkbench
