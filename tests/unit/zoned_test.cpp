// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/server/batch_element.hpp"
#include "bench/server/data_paths/user_copy.hpp"
#include "bench/server/data_paths/zero_copy.hpp"
#include "bench/server/data_paths/zoned.hpp"
#include "bench/server/serve_options.hpp"
#include "bench/targets/zoned.hpp"
#include "tests/unit/lane_rig.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;
using testing_support::LaneRig;
using testing_support::Pages;

constexpr std::uint64_t zone_bytes = 1 << 20;

TEST(ZonedSpec, WordsAndTheirErrors) {
  const auto layout =
      parse_zoned("64M:zone=1M,capacity=768k,conventional=2,max_open=4,max_active=6");
  ASSERT_TRUE(layout) << layout.error().message();
  EXPECT_EQ(layout->zones, 64U);
  EXPECT_EQ(layout->zone_bytes, zone_bytes);
  EXPECT_EQ(layout->capacity_bytes, 768U << 10);
  EXPECT_EQ(layout->conventional, 2U);
  EXPECT_EQ(layout->max_open, 4U);
  EXPECT_EQ(layout->max_active, 6U);
  for (const auto& [words, says] : std::initializer_list<std::pair<const char*, const char*>>{
           {"x", "'x' is not a size"},
           {"64M:zone=3M", "power of two"},
           {"64M:zone=32k", "power of two"},
           {"65M:zone=2M", "multiple of the zone size 2M"},
           {"64M:zone=1M,capacity=2M", "at most the zone size"},
           {"64M:zone=1M,conventional=64", "one must be sequential"},
           {"64M:zone=1M,max_open=65", "there are 64 zones"},
           {"64M:zone=1M,max_open=4,max_active=3", "an open zone is active"},
           {"64M:size=1M", "use zone, capacity"}}) {
    const auto bad = parse_zoned(words);
    ASSERT_FALSE(bad) << words;
    EXPECT_EQ(bad.error().exit, ExitCode::usage);
    EXPECT_THAT(bad.error().message(), HasSubstr(says));
  }
}

class ZoneStatesTest : public testing::Test {
 protected:
  ZoneStates& states(ZoneLayout layout) {
    layout.zone_bytes = zone_bytes;
    layout.zones = 8;
    zones_.resize(8);
    states_.emplace(layout, zones_);
    return *states_;
  }
  static constexpr std::uint64_t at(unsigned zone, std::uint64_t offset = 0) {
    return zone * zone_bytes + offset;
  }
  [[nodiscard]] unsigned condition(unsigned zone) const { return zones_[zone].cond; }

  std::vector<blk_zone> zones_;
  std::optional<ZoneStates> states_;
};

TEST_F(ZoneStatesTest, WritesGoWhereTheWritePointerIs) {
  ZoneStates& zones = states({});
  EXPECT_EQ(zones.write(at(1, 4096), 4096), -EIO);
  EXPECT_EQ(zones.write(at(1), 4096), 0);
  EXPECT_EQ(zones.write(at(1), 4096), -EIO);
  EXPECT_EQ(zones.write(at(1, 4096), 4096), 0);
  EXPECT_EQ(zones_[1].wp, (at(1) + 8192) >> 9);
  EXPECT_EQ(condition(1), BLK_ZONE_COND_IMP_OPEN);
  EXPECT_EQ(zones.write(at(1, 8192), zone_bytes), -EIO) << "past the end";
  EXPECT_EQ(zones.write(at(1, 8192), zone_bytes - 8192), 0);
  EXPECT_EQ(condition(1), BLK_ZONE_COND_FULL);
  EXPECT_EQ(zones.write(at(2) - 4096, 4096), -EIO);
  EXPECT_EQ(zones.reset(at(1)), 0);
  EXPECT_EQ(condition(1), BLK_ZONE_COND_EMPTY);
  EXPECT_EQ(zones_[1].wp, at(1) >> 9);
}

TEST_F(ZoneStatesTest, CapacityEndsAZoneBeforeItsSize) {
  ZoneStates& zones = states({.capacity_bytes = 512 << 10});
  EXPECT_EQ(zones.write(at(0), 516 << 10), -EIO);
  EXPECT_EQ(zones.write(at(0), 512 << 10), 0);
  EXPECT_EQ(condition(0), BLK_ZONE_COND_FULL);
  EXPECT_EQ(zones_[0].capacity, 1024U);
  EXPECT_EQ(zones_[0].len, 2048U);
}

TEST_F(ZoneStatesTest, AppendsSayWhereTheyWent) {
  ZoneStates& zones = states({});
  std::uint64_t position = 0;
  EXPECT_EQ(zones.append(at(3), 8192, position), 0);
  EXPECT_EQ(position, at(3));
  EXPECT_EQ(zones.append(at(3), 4096, position), 0);
  EXPECT_EQ(position, at(3, 8192));
  EXPECT_EQ(zones.append(at(3, 4096), 4096, position), -EIO) << "not a zone's start";
}

TEST_F(ZoneStatesTest, ConventionalZonesTakeWritesAnywhereAndNothingElse) {
  ZoneStates& zones = states({.conventional = 2});
  std::uint64_t position = 0;
  EXPECT_EQ(zones.write(at(1, 64 << 10), 4096), 0);
  EXPECT_EQ(zones.write(at(0, 4096), 4096), 0);
  EXPECT_EQ(zones.append(at(0), 4096, position), -EIO);
  EXPECT_EQ(zones.reset(at(0)), -EIO);
  EXPECT_EQ(zones.open(at(1)), -EIO);
  EXPECT_EQ(zones.finish(at(1)), -EIO);
  EXPECT_EQ(zones.close(at(1)), -EIO);
  EXPECT_EQ(condition(1), BLK_ZONE_COND_NOT_WP);
  EXPECT_EQ(zones_[1].type, BLK_ZONE_TYPE_CONVENTIONAL);
}

TEST_F(ZoneStatesTest, TooManyOpenZonesCloseTheImplicitOnesFirst) {
  ZoneStates& zones = states({.max_open = 2});
  EXPECT_EQ(zones.write(at(0), 4096), 0);
  EXPECT_EQ(zones.open(at(1)), 0);
  EXPECT_EQ(zones.write(at(2), 4096), 0);
  EXPECT_EQ(condition(0), BLK_ZONE_COND_CLOSED);
  EXPECT_EQ(zones.open(at(2)), 0);
  EXPECT_EQ(condition(2), BLK_ZONE_COND_EXP_OPEN);
  EXPECT_EQ(zones.write(at(3), 4096), -ETOOMANYREFS);
  EXPECT_EQ(zones.open(at(3)), -ETOOMANYREFS);
  EXPECT_EQ(zones.write(at(0, 4096), 4096), -ETOOMANYREFS) << "a closed zone has to open again";
  EXPECT_EQ(zones.close(at(1)), 0);
  EXPECT_EQ(condition(1), BLK_ZONE_COND_EMPTY) << "nothing was written";
  EXPECT_EQ(zones.write(at(3), 4096), 0);
}

TEST_F(ZoneStatesTest, TooManyActiveZonesRefuseEmptyOnes) {
  ZoneStates& zones = states({.max_open = 1, .max_active = 2});
  EXPECT_EQ(zones.write(at(0), 4096), 0);
  EXPECT_EQ(zones.write(at(1), 4096), 0);
  EXPECT_EQ(zones.write(at(2), 4096), -EOVERFLOW);
  EXPECT_EQ(zones.finish(at(2)), -EOVERFLOW);
  EXPECT_EQ(zones.write(at(0, 4096), 4096), 0) << "active already";
  EXPECT_EQ(zones.finish(at(1)), 0);
  EXPECT_EQ(condition(1), BLK_ZONE_COND_FULL);
  EXPECT_EQ(zones.write(at(2), 4096), 0);
  zones.reset_all();
  for (unsigned zone = 0; zone < 8; ++zone) EXPECT_EQ(condition(zone), BLK_ZONE_COND_EMPTY);
  EXPECT_EQ(zones.write(at(5), 4096), 0);
  EXPECT_EQ(zones.write(at(6), 4096), 0) << "reset all gave the places back";
}

TEST_F(ZoneStatesTest, ReportsStartAtAZoneAndEndWithTheDevice) {
  ZoneStates& zones = states({});
  std::vector<blk_zone> reports(4);
  EXPECT_EQ(zones.report(at(2), reports), 4U);
  EXPECT_EQ(reports[0].start, at(2) >> 9);
  EXPECT_EQ(zones.report(at(6), reports), 2U);
  EXPECT_EQ(zones.report(at(8), reports), 0U);
}

class ZonedTargetTest : public testing::Test {
 protected:
  ZonedTargetTest() : target_(*make_target("zoned:8M:zone=1M,conventional=1")), rig_(*target_) {}

  std::unique_ptr<Target> target_;
  LaneRig rig_;
};

TEST_F(ZonedTargetTest, DataIsReadBackAndAResetForgetsIt) {
  const Pages ones(8192, 1);
  const Pages back(8192, 0xee);
  ASSERT_EQ(rig_.write(zone_bytes, ones.bytes()), 8192);
  ASSERT_EQ(rig_.read(zone_bytes, back.bytes()), 8192);
  EXPECT_TRUE(back.all(1));
  ASSERT_EQ(rig_.write(zone_bytes, ones.bytes()), -EIO);
  ASSERT_EQ(rig_.serve({.op = Op::zone_reset, .offset = zone_bytes}), 0);
  ASSERT_EQ(rig_.read(zone_bytes, back.bytes()), 8192);
  EXPECT_TRUE(back.all(0));
  ASSERT_EQ(rig_.write(0, ones.bytes()), 8192);
  ASSERT_EQ(rig_.write(zone_bytes, ones.bytes()), 8192);
  ASSERT_EQ(rig_.serve({.op = Op::zone_reset_all}), 0);
  ASSERT_EQ(rig_.read(0, back.bytes()), 8192);
  EXPECT_TRUE(back.all(1)) << "conventional zones keep their data";
}

TEST(ZonedPath, AnswersAreZeroUntilAnAppendSaysOtherwise) {
  std::uint64_t sectors[] = {7, 7};
  const ZonedPath<ZeroCopyPath> path(ZeroCopyPath{}, sectors);
  Ring ring = *Ring::create({.sq_entries = 4});
  const ChainRings rings{.io = &ring, .service = &ring};
  IoSlot slot;
  Chain chain(rings, slot.chain, 1);
  const auto counters = std::make_unique<DaemonCounters>();
  path.acquire({.op = Op::flush}, slot, 1, chain, *counters);
  EXPECT_EQ(path.append_sector(0), 7U);
  EXPECT_EQ(path.append_sector(1), 0U);
  const Request append{.op = Op::zone_append, .bytes = 4096};
  EXPECT_EQ(path.data(append, slot, 1).place, Data::Place::registered);
  EXPECT_EQ(path.data({.op = Op::zone_reset}, slot, 1).place, Data::Place::none);
}

TEST_F(ZonedTargetTest, AnAppendAnswersItsSector) {
  const Pages ones(4096, 1);
  const Data data{.place = Data::Place::memory, .memory = ones.bytes().data()};
  const Request append{.op = Op::zone_append, .bytes = 4096, .offset = 2 * zone_bytes};
  ASSERT_EQ(rig_.serve(append, data), 4096);
  EXPECT_EQ(rig_.append_sector(0), 2 * zone_bytes >> 9);
  ASSERT_EQ(rig_.serve(append, data), 4096);
  EXPECT_EQ(rig_.append_sector(0), (2 * zone_bytes >> 9) + 8);
}

TEST_F(ZonedTargetTest, AReportIsTheSameInMemoryAndInARegisteredBuffer) {
  const Pages memory(4096, 0xee);
  const Pages registered(4096, 0xee);
  const iovec buffer{registered.bytes().data(), 4096};
  ASSERT_TRUE(rig_.ring().register_buffers(&buffer, 1));
  const Request report{.op = Op::report_zones, .bytes = 64 * 512, .offset = 2 * zone_bytes};
  const auto bytes = static_cast<std::int32_t>(6 * sizeof(blk_zone));
  ASSERT_EQ(rig_.serve(report, {.place = Data::Place::memory, .memory = memory.bytes().data()}),
            bytes);
  ASSERT_EQ(rig_.serve(report, {.place = Data::Place::registered,
                                .index = 0,
                                .memory = registered.bytes().data()}),
            bytes);
  EXPECT_EQ(std::memcmp(memory.bytes().data(), registered.bytes().data(), 4096), 0);
}

TEST(ZonedDevice, ParametersAndModes) {
  ServeOptions options;
  const DeviceShape shape = (*make_target("zoned:64M:zone=4M,max_open=3,max_active=5"))->shape();
  EXPECT_EQ(shape_flags(shape), static_cast<std::uint64_t>(UBLK_F_ZONED));
  EXPECT_EQ(shape_flags({.bytes = 1 << 20}), 0U);
  const ublk_params params = device_params(options, shape);
  EXPECT_NE(params.types & UBLK_PARAM_TYPE_ZONED, 0U);
  EXPECT_EQ(params.basic.chunk_sectors, 8192U);
  EXPECT_EQ(params.zoned.max_open_zones, 3U);
  EXPECT_EQ(params.zoned.max_active_zones, 5U);
  EXPECT_EQ(params.zoned.max_zone_append_sectors, options.max_io_bytes >> 9);
  for (const auto& [mode, fits] : {std::pair{"copy", false},
                                   {"get_data", false},
                                   {"user_copy", true},
                                   {"zc", true},
                                   {"auto_zc", false},
                                   {"batch,user_copy", true},
                                   {"batch,zc,offload", true}}) {
    options.mode = *parse_mode(mode);
    EXPECT_EQ(validate(options, shape).has_value(), fits) << mode;
    EXPECT_TRUE(validate(options, {.bytes = 1 << 20})) << mode;
  }
}

TEST(ZonedDevice, ElementsCarryTheSectorOfAnAppend) {
  std::byte bytes[16];
  EXPECT_EQ((encode_element<AddressKind::none, true>(bytes, 3, 4096, 0, 0x1234)), bytes + 16);
  std::uint64_t sector = 0;
  std::memcpy(&sector, bytes + 8, sizeof(sector));
  EXPECT_EQ(sector, 0x1234U);
  EXPECT_EQ((batch_flags<AddressKind::none, true>(0)), UBLK_BATCH_F_HAS_ZONE_LBA);
}

}  // namespace
}  // namespace ublkbench
