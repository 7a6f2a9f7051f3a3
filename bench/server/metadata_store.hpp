// SPDX-License-Identifier: MIT
// Where the metadata of a device's blocks is kept: `bytes` for each block, block after block.
//
// Never written metadata reads as 0xff, which the block layer's integrity code takes for "do not
// check" (block/t10-pi.c, the escape values of application and reference tag).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"
#include "bench/server/device_options.hpp"

namespace ublkbench {

class MetadataStore {
 public:
  /// What becomes of a file that is not there.
  enum class Missing : std::uint8_t { create, refuse };
  /// The file that the options name, as it is; or memory.
  static Result<MetadataStore> open(const MetadataOptions& options, const ublk_params& params,
                                    Missing missing = Missing::create);

  /// Makes the file long enough for the device: apart from open(), so that a file that turns out to
  /// be the wrong one stays as it was.
  [[nodiscard]] Result<> make_room() const;

  MetadataStore() = default;

  [[nodiscard]] std::size_t bytes_for(std::uint64_t data_bytes) const {
    return static_cast<std::size_t>(data_bytes >> block_shift_) * bytes_per_block_;
  }
  /// How large the device can be: its file may have room for more blocks than it has now.
  [[nodiscard]] std::uint64_t room_bytes() const;
  [[nodiscard]] int file() const { return file_.get(); }

  /// Metadata of the blocks from `offset` of the device on. 0 or a negative errno. `metadata` is
  /// scratch space afterwards.
  int write(std::uint64_t offset, std::span<std::byte> metadata, bool durable) const;
  int read(std::uint64_t offset, std::span<std::byte> metadata) const;
  /// The blocks lost their data: as if their metadata were never written.
  int forget(std::uint64_t offset, std::uint64_t data_bytes) const;
  [[nodiscard]] int flush() const;

 private:
  [[nodiscard]] off_t position(std::uint64_t offset) const {
    return static_cast<off_t>(bytes_for(offset));
  }

  Fd file_;
  std::string path_;           ///< of a file, for errors
  std::size_t all_bytes_ = 0;  ///< metadata of the whole device
  unsigned block_shift_ = 9;
  std::size_t bytes_per_block_ = 0;
  bool in_memory_ = false;  ///< kept inverted, so that what was never written needs no memory
};

}  // namespace ublkbench
