// SPDX-License-Identifier: MIT
// The driver copies between the request's pages and a buffer of the server.
#pragma once

#include "bench/server/data_path.hpp"

namespace ublkbench {

struct CopyPath : PlainDataPath {
  static constexpr AddressKind address_kind = AddressKind::buffer;

  static constexpr bool resumes_short_reads(const IoSlot&) { return true; }
  [[nodiscard]] static std::uint64_t address(const IoSlot& slot, std::uint32_t) {
    return reinterpret_cast<std::uintptr_t>(slot.buffer);
  }
  [[nodiscard]] static Data data(const Request&, const IoSlot& slot, std::uint32_t) {
    return {.place = Data::Place::memory, .memory = slot.buffer};
  }
};
static_assert(DataPath<CopyPath>);

}  // namespace ublkbench
