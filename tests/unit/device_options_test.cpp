// SPDX-License-Identifier: MIT
#include "bench/server/device_options.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace ublkbench {
namespace {

constexpr std::uint32_t max_io_bytes = 512 << 10;
constexpr DeviceShape shape = {.bytes = 64 << 20};

DeviceOptions with(const std::function<void(DeviceOptions&)>& change) {
  DeviceOptions options;
  change(options);
  return options;
}

ublk_params plain_params() {
  ublk_params params{};
  params.types = UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DISCARD;
  params.basic.logical_bs_shift = 9;
  params.basic.physical_bs_shift = 12;
  params.basic.io_min_shift = params.basic.io_opt_shift = 12;
  params.basic.dev_sectors = shape.bytes >> 9;
  params.discard.max_discard_sectors = 8;
  return params;
}

struct Refused {
  std::string says;
  std::function<void(DeviceOptions&)> change;
};

TEST(DeviceOptions, WhatTheDriverRefusesIsRefusedByName) {
  const Refused all[] = {
      {"logical blocks of 3k", [](auto& o) { o.logical_block_bytes = 3072; }},
      {"logical blocks of 8k", [](auto& o) { o.logical_block_bytes = 8192; }},
      {"physical blocks of 512",
       [](auto& o) {
         o.logical_block_bytes = 4096;
         o.physical_block_bytes = 512;
       }},
      {"a device of 0 bytes", [](auto& o) { o.bytes = 0; }},
      {"a device of 1000 bytes", [](auto& o) { o.bytes = 1000; }},
      {"a device of", [](auto& o) { o.bytes = shape.bytes + 512; }},
      {"--chunk", [](auto& o) { o.chunk_bytes = 2048; }},
      {"--dma-alignment", [](auto& o) { o.dma_alignment_bytes = 8192; }},
      {"--segment-boundary", [](auto& o) { o.segment_boundary_bytes = 6000; }},
      {"--max-segment below", [](auto& o) { o.max_segment_bytes = 2048; }},
      {"--max-segments", [](auto& o) { o.max_segments = 65536; }},
      {"--max-request", [](auto& o) { o.max_request_bytes = 1 << 20; }},
      {"--max-request", [](auto& o) { o.max_request_bytes = 2048; }},
      {"--max-discard", [](auto& o) { o.max_discard_bytes = 4096; }},
      {"--discard-granularity", [](auto& o) { o.discard_granularity_bytes = 4ULL << 30; }},
      {"--discard-granularity or --discard-alignment",
       [](auto& o) { o.discard_alignment_bytes = 4ULL << 30; }},
      {"--io-desc-size 25", [](auto& o) { o.io_desc_bytes = 25; }},
      {"--io-desc-size 264", [](auto& o) { o.io_desc_bytes = 264; }},
      {"--recovery with --unprivileged",
       [](auto& o) {
         o.unprivileged = true;
         o.recovery = Recovery::fail;
       }},
      {"without --metadata BYTES", [](auto& o) { o.metadata.tag_bytes = 2; }},
      {"protection tuple of 8 bytes at offset 1 of 8",
       [](auto& o) {
         o.metadata.bytes = 8;
         o.metadata.checksum = MetadataOptions::Checksum::t10dif;
         o.metadata.tuple_offset = 1;
       }},
      {"--metadata-reference-tag",
       [](auto& o) {
         o.metadata.bytes = 8;
         o.metadata.reference_tag = true;
       }},
  };
  for (const Refused& row : all) {
    const auto valid = validate(with(row.change), shape, max_io_bytes);
    ASSERT_FALSE(valid) << row.says;
    EXPECT_EQ(valid.error().exit, ExitCode::usage);
    EXPECT_NE(valid.error().message().find(row.says), std::string::npos) << valid.error().message();
  }
  EXPECT_TRUE(validate({}, shape, max_io_bytes));
}

TEST(DeviceOptions, BlocksBelowTheTargetsAreRefused) {
  const DeviceShape coarse = {.bytes = 64 << 20, .logical_block_shift = 12};
  EXPECT_FALSE(validate(with([](auto& o) { o.logical_block_bytes = 512; }), coarse, max_io_bytes));
  EXPECT_TRUE(validate(with([](auto& o) { o.logical_block_bytes = 4096; }), coarse, max_io_bytes));
}

TEST(DeviceOptions, LargerLogicalBlocksCarryTheOtherSizesAlong) {
  ublk_params params = plain_params();
  params.basic.physical_bs_shift = 9;
  params.basic.dev_sectors = 1003;
  apply(with([](auto& o) { o.logical_block_bytes = 4096; }), params);
  EXPECT_EQ(params.basic.logical_bs_shift, 12);
  EXPECT_EQ(params.basic.physical_bs_shift, 12);
  EXPECT_EQ(params.basic.io_min_shift, 12);
  EXPECT_EQ(params.basic.dev_sectors, 1000U) << "whole blocks only";
}

TEST(DeviceOptions, AttributesAreSetAndCleared) {
  ublk_params params = plain_params();
  params.basic.attrs = UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA;
  apply(with([](auto& o) {
          o.write_cache = false;
          o.read_only = true;
        }),
        params);
  EXPECT_EQ(params.basic.attrs, static_cast<std::uint32_t>(UBLK_ATTR_FUA | UBLK_ATTR_READ_ONLY));
}

TEST(DeviceOptions, SegmentsAskedForInPartHaveTheBlockLayersOwnLimitsElsewhere) {
  ublk_params params = plain_params();
  apply({}, params);
  EXPECT_EQ(params.types & UBLK_PARAM_TYPE_SEGMENT, 0U);
  apply(with([](auto& o) { o.max_segment_bytes = 32768; }), params);
  EXPECT_NE(params.types & UBLK_PARAM_TYPE_SEGMENT, 0U);
  EXPECT_EQ(params.seg.max_segment_size, 32768U);
  EXPECT_EQ(params.seg.max_segments, 65535U);
  EXPECT_EQ(params.seg.seg_boundary_mask, 0xffffffffU);
}

TEST(DeviceOptions, DiscardWithoutALimitIsNoDiscard) {
  ublk_params params = plain_params();
  apply(with([](auto& o) { o.max_discard_bytes = 0; }), params);
  EXPECT_EQ(params.types & UBLK_PARAM_TYPE_DISCARD, 0U);
}

TEST(DeviceOptions, MetadataIsDescribedToTheBlockLayer) {
  ublk_params params = plain_params();
  const DeviceOptions options = with([](auto& o) {
    o.metadata = {.bytes = 64, .checksum = MetadataOptions::Checksum::nvme, .tuple_offset = 48};
    o.metadata.reference_tag = true;
  });
  ASSERT_TRUE(validate(options, shape, max_io_bytes));
  EXPECT_NE(options.flags(0) & UBLK_F_INTEGRITY, 0U);
  apply(options, params);
  EXPECT_NE(params.types & UBLK_PARAM_TYPE_INTEGRITY, 0U);
  EXPECT_EQ(params.integrity.metadata_size, 64);
  EXPECT_EQ(params.integrity.pi_offset, 48);
  EXPECT_EQ(params.integrity.csum_type, LBMD_PI_CSUM_CRC64_NVME);
  EXPECT_EQ(params.integrity.flags, static_cast<std::uint32_t>(LBMD_PI_CAP_REFTAG));
  EXPECT_EQ(params.integrity.interval_exp, params.basic.logical_bs_shift);
}

TEST(DeviceOptions, RecoveryAsksForQuiesceWhereTheDriverHasIt) {
  const DeviceOptions options = with([](auto& o) { o.recovery = Recovery::reissue; });
  EXPECT_EQ(options.flags(0),
            static_cast<std::uint64_t>(UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE));
  EXPECT_EQ(options.flags(~0ULL) & UBLK_F_QUIESCE, static_cast<std::uint64_t>(UBLK_F_QUIESCE));
}

}  // namespace
}  // namespace ublkbench
