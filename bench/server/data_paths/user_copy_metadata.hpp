// SPDX-License-Identifier: MIT
// user_copy for a device whose blocks have metadata (UBLK_F_INTEGRITY): the driver hands it over at
// another offset of /dev/ublkcN, and this path stores it. Targets do not know that there is any.
//
// A slot's metadata is behind its data: the buffer is `data_bytes` + what goes with so much data.
#pragma once

#include "bench/server/data_paths/user_copy.hpp"
#include "bench/server/metadata_store.hpp"

namespace ublkbench {

class UserCopyMetadataPath : public UserCopyPath {
 public:
  UserCopyMetadataPath(const MetadataStore* store, std::uint32_t data_bytes)
      : store_(store), data_bytes_(data_bytes) {}

  void acquire(const Request& request, const IoSlot& slot, std::uint32_t index, Chain& chain,
               DaemonCounters& counters) const {
    UserCopyPath::acquire(request, slot, index, chain, counters);
    if (chain.result() < 0) return;
    const int error = before_target(request, slot);
    if (error != 0) [[unlikely]]
      chain.set_result(error);
  }

  void release(const Request& request, const IoSlot& slot, std::uint32_t index,
               Chain& chain) const {
    UserCopyPath::release(request, slot, index, chain);
    const std::int32_t served = chain.result();
    if (request.op != Op::read || served <= 0 || !has_metadata(slot)) return;
    const auto metadata = metadata_of(slot, static_cast<std::uint32_t>(served));
    int error = store_->read(request.offset, metadata);
    if (error == 0)
      error = whole(::pwrite(slot.char_device, metadata.data(), metadata.size(), position(slot)),
                    metadata.size());
    if (error != 0) [[unlikely]]
      chain.set_result(error);
  }

 private:
  static bool has_metadata(const IoSlot& slot) {
    return (slot.descriptor->op_flags & UBLK_IO_F_INTEGRITY) != 0;
  }
  static off_t position(const IoSlot& slot) {
    return static_cast<off_t>(static_cast<std::uint64_t>(offset(slot)) | UBLKSRV_IO_INTEGRITY_FLAG);
  }
  static int whole(ssize_t copied, std::size_t wanted) {
    if (copied == static_cast<ssize_t>(wanted)) return 0;
    return copied < 0 ? -errno : -EIO;
  }
  [[nodiscard]] std::span<std::byte> metadata_of(const IoSlot& slot, std::uint32_t bytes) const {
    return {slot.buffer + data_bytes_, store_->bytes_for(bytes)};
  }

  /// 0 or a negative errno.
  [[nodiscard]] int before_target(const Request& request, const IoSlot& slot) const {
    switch (request.op) {
      case Op::write: {
        if (!has_metadata(slot)) return 0;
        const auto metadata = metadata_of(slot, request.bytes);
        const int error =
            whole(::pread(slot.char_device, metadata.data(), metadata.size(), position(slot)),
                  metadata.size());
        return error != 0 ? error : store_->write(request.offset, metadata, request.fua);
      }
      case Op::discard:
      case Op::write_zeroes:
        return store_->forget(request.offset, request.bytes);
      case Op::flush:
        return store_->flush();
      default:
        return 0;
    }
  }

  const MetadataStore* store_;
  std::uint32_t data_bytes_;
};
static_assert(DataPath<UserCopyMetadataPath>);

}  // namespace ublkbench
