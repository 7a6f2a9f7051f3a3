// SPDX-License-Identifier: MIT
#include "bench/server/device_options.hpp"

#include <linux/fs.h>

#include <algorithm>
#include <bit>
#include <string_view>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench {
namespace {

// ublk_drv.c, ublk_validate_params(); its PAGE_SIZE is 4k on x86-64.
constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t sector_bytes = 512;
constexpr std::uint64_t largest_block_bytes = 256 << 20;
constexpr std::uint64_t largest_io_desc_bytes = 256;  // UBLK_MAX_IO_DESC_SIZE

struct PowerOfTwo {
  std::string_view name;
  const std::optional<std::uint64_t>& value;
  std::uint64_t least;
  std::uint64_t most;
};

Result<> check_powers(const DeviceOptions& options) {
  const PowerOfTwo all[] = {
      {"logical blocks", options.logical_block_bytes, sector_bytes, page_bytes},
      {"physical blocks", options.physical_block_bytes, sector_bytes, largest_block_bytes},
      {"--io-min", options.io_min_bytes, 1, largest_block_bytes},
      {"--io-opt", options.io_opt_bytes, 1, largest_block_bytes},
      {"--chunk", options.chunk_bytes, page_bytes, 1ULL << 40},
      {"--virtual-boundary", options.virtual_boundary_bytes, page_bytes, 1ULL << 32},
      {"--dma-alignment", options.dma_alignment_bytes, 1, page_bytes},
      {"--segment-boundary", options.segment_boundary_bytes, page_bytes, 1ULL << 62},
  };
  for (const PowerOfTwo& power : all)
    if (power.value && (!std::has_single_bit(*power.value) || *power.value < power.least ||
                        *power.value > power.most))
      return bad_input(formatted("{} of {}", power.name, format_size(*power.value)),
                       formatted("the driver takes a power of two from {} to {}",
                                 format_size(power.least), format_size(power.most)));
  return {};
}

Result<> check_blocks(const DeviceOptions& options, const DeviceShape& shape) {
  const std::uint64_t target_logical = 1ULL << shape.logical_block_shift;
  const std::uint64_t logical = options.logical_block_bytes.value_or(target_logical);
  const std::uint64_t physical = options.physical_block_bytes.value_or(
      std::max(logical, std::uint64_t{1} << shape.physical_block_shift));
  if (logical < target_logical)
    return bad_input(formatted("logical blocks of {}", logical),
                     formatted("the target takes no I/O below {}", target_logical));
  if (physical < logical)
    return bad_input(
        formatted("physical blocks of {} with logical ones of {}", format_size(physical), logical),
        "a physical block holds one or more logical ones");
  if (options.bytes &&
      (*options.bytes > shape.bytes || *options.bytes % logical != 0 || *options.bytes == 0))
    return bad_input(formatted("a device of {} bytes", *options.bytes),
                     formatted("the target has {}, in blocks of {}", shape.bytes, logical));
  return {};
}

Result<> check_requests(const DeviceOptions& options, std::uint32_t max_io_bytes) {
  if (options.max_request_bytes &&
      (*options.max_request_bytes < page_bytes || *options.max_request_bytes > max_io_bytes ||
       *options.max_request_bytes % sector_bytes != 0))
    return bad_input(formatted("--max-request {}", format_size(*options.max_request_bytes)),
                     formatted("give {} to --max-io, {}", page_bytes, format_size(max_io_bytes)));
  if (options.max_segment_bytes && *options.max_segment_bytes < page_bytes)
    return bad_input("--max-segment below 4k", "the driver takes no less");
  if (options.max_segments && (*options.max_segments == 0 || *options.max_segments > UINT16_MAX))
    return bad_input(formatted("--max-segments {}", *options.max_segments), "give 1 to 65535");
  if (options.max_discard_bytes.value_or(0) > 1ULL << 30 ||
      options.max_write_zeroes_bytes.value_or(0) > 1ULL << 30)
    return bad_input("--max-discard or --max-write-zeroes above 1G",
                     "an I/O's length is counted in 32 bits");
  if (options.discard_granularity_bytes.value_or(0) > UINT32_MAX ||
      options.discard_alignment_bytes.value_or(0) > UINT32_MAX)
    return bad_input("--discard-granularity or --discard-alignment of 4G or more",
                     "the driver counts them in 32 bits");
  if (options.io_desc_bytes &&
      (*options.io_desc_bytes < sizeof(ublksrv_io_desc) || *options.io_desc_bytes % 8 != 0 ||
       *options.io_desc_bytes > largest_io_desc_bytes))
    return bad_input(formatted("--io-desc-size {}", *options.io_desc_bytes),
                     formatted("the driver takes {} to {}, a multiple of 8",
                               sizeof(ublksrv_io_desc), largest_io_desc_bytes));
  return {};
}

unsigned tuple_bytes(MetadataOptions::Checksum checksum) {
  switch (checksum) {
    case MetadataOptions::Checksum::none:
      return 0;
    case MetadataOptions::Checksum::nvme:
      return 16;
    default:
      return 8;
  }
}

Result<> check_metadata(const MetadataOptions& metadata) {
  if (metadata.bytes == 0) {
    if (metadata != MetadataOptions{})
      return bad_input("options of metadata without --metadata BYTES");
    return {};
  }
  if (metadata.tuple_offset + tuple_bytes(metadata.checksum) > metadata.bytes)
    return bad_input(
        formatted("a protection tuple of {} bytes at offset {} of {} metadata bytes",
                  tuple_bytes(metadata.checksum), metadata.tuple_offset, metadata.bytes),
        "it must fit");
  if (metadata.reference_tag && metadata.checksum == MetadataOptions::Checksum::none)
    return bad_input("--metadata-reference-tag without --metadata-checksum");
  return {};
}

unsigned shift_of(std::uint64_t bytes) { return static_cast<unsigned>(std::countr_zero(bytes)); }

void apply_blocks(const DeviceOptions& options, ublk_param_basic& basic) {
  const auto set = [](const std::optional<std::uint64_t>& bytes, std::uint8_t& shift) {
    if (bytes) shift = static_cast<std::uint8_t>(shift_of(*bytes));
  };
  set(options.logical_block_bytes, basic.logical_bs_shift);
  basic.physical_bs_shift = std::max(basic.physical_bs_shift, basic.logical_bs_shift);
  basic.io_min_shift = basic.io_opt_shift = basic.physical_bs_shift;
  if (options.physical_block_bytes) {
    set(options.physical_block_bytes, basic.physical_bs_shift);
    basic.io_min_shift = basic.io_opt_shift = basic.physical_bs_shift;
  }
  set(options.io_min_bytes, basic.io_min_shift);
  set(options.io_opt_bytes, basic.io_opt_shift);
  if (options.bytes) basic.dev_sectors = *options.bytes / sector_bytes;
  // The target may end within a block of the device's.
  basic.dev_sectors &= ~((1ULL << (basic.logical_bs_shift - 9)) - 1);
  if (options.max_request_bytes)
    basic.max_sectors = static_cast<std::uint32_t>(*options.max_request_bytes / sector_bytes);
  if (options.chunk_bytes)
    basic.chunk_sectors = static_cast<std::uint32_t>(*options.chunk_bytes / sector_bytes);
  if (options.virtual_boundary_bytes)
    basic.virt_boundary_mask = *options.virtual_boundary_bytes - 1;
}

void apply_attributes(const DeviceOptions& options, std::uint32_t& attributes) {
  const auto set = [&attributes](std::uint32_t bit, bool on) {
    attributes = on ? attributes | bit : attributes & ~bit;
  };
  if (options.write_cache) set(UBLK_ATTR_VOLATILE_CACHE, *options.write_cache);
  if (options.fua) set(UBLK_ATTR_FUA, *options.fua);
  if (options.read_only) set(UBLK_ATTR_READ_ONLY, true);
  if (options.rotational) set(UBLK_ATTR_ROTATIONAL, true);
}

void apply_segments(const DeviceOptions& options, ublk_params& params) {
  if (options.dma_alignment_bytes) {
    params.types |= UBLK_PARAM_TYPE_DMA_ALIGN;
    params.dma.alignment = static_cast<std::uint32_t>(*options.dma_alignment_bytes - 1);
  }
  if (!options.max_segments && !options.max_segment_bytes && !options.segment_boundary_bytes)
    return;
  params.types |= UBLK_PARAM_TYPE_SEGMENT;
  params.seg.max_segments = static_cast<std::uint16_t>(options.max_segments.value_or(UINT16_MAX));
  params.seg.max_segment_size = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(options.max_segment_bytes.value_or(UINT32_MAX), UINT32_MAX));
  // The block layer's own limit; the driver wants a power of two here, so 2^64 is none.
  params.seg.seg_boundary_mask = options.segment_boundary_bytes.value_or(1ULL << 32) - 1;
}

void apply_discard(const DeviceOptions& options, ublk_params& params) {
  ublk_param_discard& discard = params.discard;
  if (options.discard_granularity_bytes)
    discard.discard_granularity = static_cast<std::uint32_t>(*options.discard_granularity_bytes);
  if (options.discard_alignment_bytes)
    discard.discard_alignment = static_cast<std::uint32_t>(*options.discard_alignment_bytes);
  if (options.max_discard_bytes)
    discard.max_discard_sectors =
        static_cast<std::uint32_t>(*options.max_discard_bytes / sector_bytes);
  if (options.max_write_zeroes_bytes)
    discard.max_write_zeroes_sectors =
        static_cast<std::uint32_t>(*options.max_write_zeroes_bytes / sector_bytes);
  if (discard.max_discard_sectors == 0 && discard.max_write_zeroes_sectors == 0)
    params.types &= ~static_cast<std::uint32_t>(UBLK_PARAM_TYPE_DISCARD);
}

void apply_metadata(const MetadataOptions& metadata, ublk_params& params) {
  if (metadata.bytes == 0) return;
  params.types |= UBLK_PARAM_TYPE_INTEGRITY;
  constexpr std::uint8_t checksums[] = {LBMD_PI_CSUM_NONE, LBMD_PI_CSUM_IP,
                                        LBMD_PI_CSUM_CRC16_T10DIF, LBMD_PI_CSUM_CRC64_NVME};
  params.integrity = {.flags = (metadata.device_checks ? LBMD_PI_CAP_INTEGRITY : 0U) |
                               (metadata.reference_tag ? LBMD_PI_CAP_REFTAG : 0U),
                      .max_integrity_segments = metadata.max_segments,
                      .interval_exp = params.basic.logical_bs_shift,
                      .metadata_size = metadata.bytes,
                      .pi_offset = metadata.tuple_offset,
                      .csum_type = checksums[static_cast<unsigned>(metadata.checksum)],
                      .tag_size = metadata.tag_bytes,
                      .pad = {}};
}

}  // namespace

std::uint64_t DeviceOptions::flags(std::uint64_t granted) const {
  std::uint64_t wanted = 0;
  if (recovery != Recovery::none) {
    wanted |= UBLK_F_USER_RECOVERY;
    // An older driver can be recovered after a kill all the same.
    wanted |= granted & UBLK_F_QUIESCE;
  }
  if (recovery == Recovery::reissue) wanted |= UBLK_F_USER_RECOVERY_REISSUE;
  if (recovery == Recovery::fail_io) wanted |= UBLK_F_USER_RECOVERY_FAIL_IO;
  if (unprivileged) wanted |= UBLK_F_UNPRIVILEGED_DEV;
  if (metadata.bytes != 0) wanted |= UBLK_F_INTEGRITY;
  if (io_desc_bytes) wanted |= UBLK_F_IO_DESC_SIZE;
  return wanted;
}

Result<> validate(const DeviceOptions& options, const DeviceShape& shape,
                  std::uint32_t max_io_bytes) {
  if (auto checked = check_powers(options); !checked) return checked;
  if (auto checked = check_blocks(options, shape); !checked) return checked;
  if (auto checked = check_requests(options, max_io_bytes); !checked) return checked;
  if ((options.max_discard_bytes.value_or(0) != 0 && !shape.discard) ||
      (options.max_write_zeroes_bytes.value_or(0) != 0 && !shape.write_zeroes))
    return bad_input("--max-discard or --max-write-zeroes", "this target cannot do it");
  // ublk_ctrl_add_dev() clears the flags without an error.
  if (options.unprivileged && options.recovery != Recovery::none)
    return bad_input("--recovery with --unprivileged",
                     "the driver does not let ordinary users keep I/O waiting");
  return check_metadata(options.metadata);
}

void apply(const DeviceOptions& options, ublk_params& params) {
  apply_blocks(options, params.basic);
  apply_attributes(options, params.basic.attrs);
  apply_segments(options, params);
  apply_discard(options, params);
  apply_metadata(options.metadata, params);
}

}  // namespace ublkbench
