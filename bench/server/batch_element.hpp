// SPDX-License-Identifier: MIT
// Elements of PREP_IO_CMDS and COMMIT_IO_CMDS, and the buffers they are gathered in.
#pragma once

#include "bench/control/uapi.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "bench/server/data_path.hpp"

namespace ublkbench {

/// Bytes of one element: the header, a buffer address where the driver copies, and the sector of an
/// append on zoned devices.
template <AddressKind kind, bool zoned = false>
inline constexpr std::uint8_t element_bytes =
    sizeof(ublk_elem_header) + (kind == AddressKind::buffer ? sizeof(std::uint64_t) : 0) +
    (zoned ? sizeof(std::uint64_t) : 0);

/// ublk_batch_io::flags for elements of this kind. A fallback for auto registration is a flag of
/// the whole command, not of an element (ublk_batch_auto_buf_reg).
template <AddressKind kind, bool zoned = false>
constexpr std::uint16_t batch_flags(std::uint64_t address) {
  if constexpr (zoned) return UBLK_BATCH_F_HAS_ZONE_LBA | batch_flags<kind>(address);
  if constexpr (kind == AddressKind::buffer) return UBLK_BATCH_F_HAS_BUF_ADDR;
  if constexpr (kind == AddressKind::auto_register)
    return (address >> 16 & UBLK_AUTO_BUF_REG_FALLBACK) != 0 ? UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK
                                                             : 0;
  return 0;
}

/// Writes one element; `address` and `append_sector` as the data path gives them. Returns the byte
/// behind it.
template <AddressKind kind, bool zoned = false>
std::byte* encode_element(std::byte* at, std::uint16_t tag, std::int32_t result,
                          std::uint64_t address, std::uint64_t append_sector = 0) {
  static_assert(sizeof(ublk_elem_header) == 8);
  const std::uint64_t index = kind == AddressKind::auto_register ? address & 0xffff : 0;
  const std::uint64_t header =
      tag | index << 16 | static_cast<std::uint64_t>(static_cast<std::uint32_t>(result)) << 32;
  std::memcpy(at, &header, sizeof(header));
  if constexpr (kind == AddressKind::buffer)
    std::memcpy(at + sizeof(header), &address, sizeof(address));
  if constexpr (zoned) std::memcpy(at + element_bytes<kind>, &append_sector, sizeof(append_sector));
  return at + element_bytes<kind, zoned>;
}

/// The tags that a FETCH_IO_CMDS completion left in its buffer.
inline std::span<const std::uint16_t> decode_tags(const std::uint16_t* buffer, std::int32_t bytes) {
  return {buffer, static_cast<std::size_t>(bytes) / sizeof(std::uint16_t)};
}

/// Elements on their way to the driver. Owned by the command from submission to completion.
class ElementBuffer {
 public:
  explicit ElementBuffer(std::size_t bytes)
      : storage_(std::make_unique<std::byte[]>(bytes)), end_(storage_.get()) {}

  [[nodiscard]] bool empty() const { return end_ == storage_.get(); }
  [[nodiscard]] std::byte* end() { return end_; }
  void extend_to(std::byte* end) { end_ = end; }
  [[nodiscard]] const std::byte* data() const { return storage_.get(); }
  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(end_ - storage_.get());
  }

  void clear() { end_ = storage_.get(); }

  /// Drops what the driver took; true when that was everything.
  bool consume(std::size_t taken) {
    const std::size_t rest = bytes() - taken;
    if (rest != 0) [[unlikely]]
      std::memmove(storage_.get(), storage_.get() + taken, rest);
    end_ = storage_.get() + rest;
    return rest == 0;
  }

 private:
  std::unique_ptr<std::byte[]> storage_;
  std::byte* end_;
};

}  // namespace ublkbench
