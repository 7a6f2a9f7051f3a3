// SPDX-License-Identifier: MIT
#include "bench/server/metadata_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "temp_file.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t block = 4096;
constexpr std::uint8_t per_block = 8;

ublk_params params_of(std::uint64_t blocks) {
  ublk_params params{};
  params.basic.logical_bs_shift = 12;
  params.basic.dev_sectors = blocks * block / 512;
  return params;
}

std::vector<std::byte> bytes_of(std::size_t count, unsigned value) {
  return std::vector<std::byte>(count, std::byte(value));
}

std::vector<std::byte> read(const MetadataStore& store, std::uint64_t offset, std::size_t bytes) {
  auto data = bytes_of(bytes, 0x55);
  EXPECT_EQ(store.read(offset, data), 0);
  return data;
}

/// In memory and in a file: both must look the same.
class MetadataStoreTest : public testing::TestWithParam<bool> {
 protected:
  MetadataStore open(std::uint64_t blocks) const {
    auto store = MetadataStore::open({.bytes = per_block, .file = GetParam() ? file.path() : ""},
                                     params_of(blocks));
    EXPECT_TRUE(store) << store.error().message();
    EXPECT_TRUE(store->make_room());
    return std::move(*store);
  }
  test::TempFile file{0};
};
INSTANTIATE_TEST_SUITE_P(All, MetadataStoreTest, testing::Bool());

TEST_P(MetadataStoreTest, WhatWasNeverWrittenSaysDoNotCheck) {
  EXPECT_EQ(read(open(16), 0, 16 * per_block), bytes_of(16 * per_block, 0xff));
}

TEST_P(MetadataStoreTest, KeepsEachBlocksOwn) {
  const MetadataStore store = open(16);
  auto two = bytes_of(2 * per_block, 0x12);
  EXPECT_EQ(store.bytes_for(2 * block), two.size());
  ASSERT_EQ(store.write(3 * block, two, true), 0);
  EXPECT_EQ(read(store, 3 * block, 2 * per_block), bytes_of(2 * per_block, 0x12));
  EXPECT_EQ(read(store, 2 * block, per_block), bytes_of(per_block, 0xff));
  EXPECT_EQ(read(store, 5 * block, per_block), bytes_of(per_block, 0xff));
  EXPECT_EQ(store.flush(), 0);
}

TEST_P(MetadataStoreTest, ForgetsWithTheData) {
  const MetadataStore store = open(16);
  auto all = bytes_of(16 * per_block, 0x34);
  ASSERT_EQ(store.write(0, all, false), 0);
  ASSERT_EQ(store.forget(4 * block, 2 * block), 0);
  EXPECT_EQ(read(store, 4 * block, 2 * per_block), bytes_of(2 * per_block, 0xff));
  EXPECT_EQ(read(store, 3 * block, per_block), bytes_of(per_block, 0x34));
  EXPECT_EQ(read(store, 6 * block, per_block), bytes_of(per_block, 0x34));
}

TEST_P(MetadataStoreTest, BehindTheEndThereIsNothing) {
  const MetadataStore store = open(16);
  auto data = bytes_of(2 * per_block, 0);
  EXPECT_LT(store.read(15 * block, data), 0);
}

TEST(MetadataStore, AFileKeepsWhatItHeldAndGrowsWithTheDevice) {
  const test::TempFile file(0);
  const MetadataOptions options{.bytes = per_block, .file = file.path()};
  {
    const auto store = MetadataStore::open(options, params_of(4));
    ASSERT_TRUE(store->make_room());
    auto data = bytes_of(4 * per_block, 0x77);
    ASSERT_EQ(store->write(0, data, false), 0);
  }
  const auto store = MetadataStore::open(options, params_of(8));
  EXPECT_EQ(file.size(), 4 * per_block) << "not before it is known to be the right file";
  ASSERT_TRUE(store->make_room());
  EXPECT_EQ(read(*store, 0, 4 * per_block), bytes_of(4 * per_block, 0x77));
  EXPECT_EQ(read(*store, 4 * block, 4 * per_block), bytes_of(4 * per_block, 0xff));
}

TEST_P(MetadataStoreTest, HasRoomForTheDeviceThatItWasMadeFor) {
  EXPECT_EQ(open(16).room_bytes(), 16 * block);
}

TEST(MetadataStore, WhatIsNoRegularFileIsRefused) {
  const auto store = MetadataStore::open({.bytes = per_block, .file = "/dev/null"}, params_of(4));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().exit, ExitCode::usage);
}

TEST(MetadataStore, AServerThatTakesOverMakesNoFile) {
  const std::string path = testing::TempDir() + "ublkbench-no-such-metadata";
  const auto store = MetadataStore::open({.bytes = per_block, .file = path}, params_of(4),
                                         MetadataStore::Missing::refuse);
  ASSERT_FALSE(store);
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(MetadataStore, AFileThatCannotBeMadeIsBadInput) {
  const auto store =
      MetadataStore::open({.bytes = per_block, .file = "/no/such/folder/metadata"}, params_of(4));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().exit, ExitCode::usage);
}

}  // namespace
}  // namespace ublkbench
