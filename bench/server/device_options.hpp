// SPDX-License-Identifier: MIT
// What users ask of the block device besides its target: limits, caches, metadata. What is not
// asked for follows from the target.
#pragma once

#include "bench/control/uapi.hpp"

#include <cstdint>
#include <optional>
#include <string>

#include "bench/base/result.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

/// What becomes of the device and of its I/O when the server process ends without being stopped.
enum class Recovery : std::uint8_t {
  none,     ///< the disk goes away
  fail,     ///< what the server had is failed; what comes waits for the next server
  reissue,  ///< what the server had goes to the next server again, and so does what comes
  fail_io,  ///< what the server had and what comes is failed until there is a next server
};

/// Bytes beside each block that clients and the block layer's integrity code store and check.
struct MetadataOptions {
  enum class Checksum : std::uint8_t { none, ip, t10dif, nvme };  ///< LBMD_PI_CSUM_*

  std::uint8_t bytes = 0;  ///< for each logical block; 0: no metadata
  Checksum checksum = Checksum::none;
  std::uint8_t tuple_offset = 0;  ///< of the protection tuple in the metadata
  std::uint8_t tag_bytes = 0;
  bool reference_tag = false;
  bool device_checks = false;  ///< LBMD_PI_CAP_INTEGRITY: says that the device itself verifies
  std::uint16_t max_segments = 0;
  std::string file;  ///< where it is stored; empty: in memory

  friend bool operator==(const MetadataOptions&, const MetadataOptions&) = default;
};

struct DeviceOptions {
  std::optional<std::uint64_t> bytes;  ///< smaller than the target
  std::optional<std::uint64_t> logical_block_bytes;
  std::optional<std::uint64_t> physical_block_bytes;
  std::optional<std::uint64_t> io_min_bytes;
  std::optional<std::uint64_t> io_opt_bytes;
  std::optional<std::uint64_t> max_request_bytes;
  std::optional<std::uint64_t> chunk_bytes;
  std::optional<std::uint64_t> virtual_boundary_bytes;
  std::optional<std::uint64_t> dma_alignment_bytes;
  std::optional<std::uint64_t> max_segments;
  std::optional<std::uint64_t> max_segment_bytes;
  std::optional<std::uint64_t> segment_boundary_bytes;
  std::optional<std::uint64_t> discard_granularity_bytes;
  std::optional<std::uint64_t> discard_alignment_bytes;
  std::optional<std::uint64_t> max_discard_bytes;
  std::optional<std::uint64_t> max_write_zeroes_bytes;
  std::optional<std::uint64_t> io_desc_bytes;
  std::optional<bool> write_cache;
  std::optional<bool> fua;
  bool read_only = false;
  bool rotational = false;
  bool unprivileged = false;
  Recovery recovery = Recovery::none;
  MetadataOptions metadata;

  /// UBLK_F_* to request on a kernel that grants `granted`.
  [[nodiscard]] std::uint64_t flags(std::uint64_t granted) const;
};

/// What the driver would refuse, by name, and what would not work with this target.
Result<> validate(const DeviceOptions& options, const DeviceShape& shape,
                  std::uint32_t max_io_bytes);

/// Puts what was asked for over what followed from the target.
void apply(const DeviceOptions& options, ublk_params& params);

}  // namespace ublkbench
