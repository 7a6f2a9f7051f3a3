// SPDX-License-Identifier: MIT
// Each fault is planted in an image in memory and must be found as what it is.
#include "bench/load/verify_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace ublkbench::load {
namespace {

constexpr std::uint32_t granule = 512;
constexpr std::uint32_t granules = 64;
constexpr std::uint64_t begin = 4096;  // the range does not start at byte 0

class ModelTest : public testing::Test {
 protected:
  using Bytes = std::vector<std::byte>;

  /// A write that arrives in full.
  std::uint64_t write(std::uint32_t first, std::uint32_t count) {
    return write_partly(first, count, count);
  }
  /// A write that the device acknowledges although only its first `arriving` granules get there.
  std::uint64_t write_partly(std::uint32_t first, std::uint32_t count, std::uint32_t arriving) {
    const std::uint64_t number = model.begin_write(first, count);
    Bytes data(std::size_t{count} * granule);
    model.fill(number, data);
    std::copy_n(data.begin(), std::size_t{arriving} * granule, at(first));
    model.acknowledge(number);
    return number;
  }
  Bytes::iterator at(std::uint32_t index) {
    return image.begin() + static_cast<std::ptrdiff_t>(std::size_t{index} * granule);
  }
  Bytes keep(std::uint32_t index) { return {at(index), at(index) + granule}; }
  void plant(std::uint32_t index, const Bytes& block) { std::ranges::copy(block, at(index)); }

  void read(std::uint32_t first, std::uint32_t count) {
    model.check(first, std::span(image).subspan(std::size_t{first} * granule,
                                                std::size_t{count} * granule));
  }
  void read_all() {
    read(0, granules);
    model.finish();
  }
  /// Exactly this fault, once, at this granule.
  void expect_only(Fault fault, std::uint32_t index) {
    for (std::size_t other = 0; other < fault_count; ++other)
      EXPECT_EQ(model.count(static_cast<Fault>(other)),
                static_cast<Fault>(other) == fault ? 1U : 0U)
          << name_of(static_cast<Fault>(other));
    ASSERT_EQ(model.failures().size(), 1U);
    const Failure& failure = model.failures().front();
    EXPECT_EQ(failure.fault, fault);
    EXPECT_EQ(failure.offset, begin + std::uint64_t{index} * granule);
    EXPECT_NE(failure.sentence.find(name_of(fault)), std::string::npos) << failure.sentence;
    EXPECT_NE(failure.sentence.find(std::to_string(failure.offset)), std::string::npos);
  }
  static VerifyModel make_model(std::uint64_t device, std::uint64_t run) {
    return VerifyModel({.device = device,
                        .run = run,
                        .begin = begin,
                        .granule_bytes = granule,
                        .granules = granules});
  }

  VerifyModel model = make_model(1, 2);
  Bytes image = Bytes(std::size_t{granules} * granule, std::byte{0xee});
};

TEST_F(ModelTest, AGoodDeviceHasNoFaults) {
  write(0, granules);
  for (std::uint32_t i = 0; i < 40; ++i) write(i, 1 + i % 5);
  read_all();
  EXPECT_TRUE(model.failures().empty());
  EXPECT_EQ(model.checked(), granules);
  EXPECT_EQ(model.writes(), 41U);
}

TEST_F(ModelTest, WhatWasNeverWrittenMayBeAnything) {
  write(5, 1);
  read_all();
  EXPECT_TRUE(model.failures().empty());
  EXPECT_EQ(model.checked(), 1U);
}

TEST_F(ModelTest, Lost) {
  const std::uint64_t older = write(0, granules);
  const std::uint64_t newer = write_partly(9, 1, 0);
  read_all();
  expect_only(Fault::lost, 9);
  EXPECT_EQ(model.failures()[0].expected.write, newer);
  ASSERT_TRUE(model.failures()[0].found);
  EXPECT_EQ(model.failures()[0].found->write, older);
}

TEST_F(ModelTest, StaleWhenMoreThanOneWriteIsMissing) {
  write(0, granules);
  write_partly(9, 1, 0);
  write_partly(9, 1, 0);
  read_all();
  expect_only(Fault::stale, 9);
}

TEST_F(ModelTest, StaleWhenAReadHadSeenTheNewerOne) {
  write(0, granules);
  const Bytes old = keep(9);
  write(9, 1);
  read(9, 1);  // the device had it
  plant(9, old);
  read_all();
  expect_only(Fault::stale, 9);
  EXPECT_NE(model.failures()[0].sentence.find("went back"), std::string::npos);
}

TEST_F(ModelTest, StaleWhenItIsOfAnEarlierRun) {
  VerifyModel earlier = make_model(1, 1);
  Bytes data(std::size_t{granules} * granule);
  earlier.fill(earlier.begin_write(0, granules), data);
  write(0, granules);
  plant(9, {data.begin() + 9 * granule, data.begin() + 10 * granule});
  read_all();
  expect_only(Fault::stale, 9);
  EXPECT_NE(model.failures()[0].sentence.find("earlier run"), std::string::npos);
}

TEST_F(ModelTest, MisplacedWithinTheDevice) {
  write(0, granules);
  plant(9, keep(20));
  read_all();
  expect_only(Fault::misplaced, 9);
  EXPECT_EQ(model.failures()[0].found->offset, begin + 20 * granule);
}

TEST_F(ModelTest, MisplacedFromAnotherDevice) {
  VerifyModel other = make_model(5, 2);
  Bytes data(std::size_t{granules} * granule);
  other.fill(other.begin_write(0, granules), data);
  write(0, granules);
  plant(9, {data.begin() + 9 * granule, data.begin() + 10 * granule});
  read_all();
  expect_only(Fault::misplaced, 9);
  EXPECT_NE(model.failures()[0].sentence.find("another device"), std::string::npos);
}

TEST_F(ModelTest, TornAcrossTheBlocksOfOneWrite) {
  write(0, granules);
  const std::uint64_t torn = write_partly(8, 4, 3);  // granule 11 stays old
  read_all();
  expect_only(Fault::torn, 11);
  EXPECT_EQ(model.failures()[0].expected.write, torn);
  EXPECT_EQ(model.failures()[0].expected.position, 3U);
  EXPECT_EQ(model.failures()[0].expected.length, 4U);
}

TEST_F(ModelTest, LostWhenNoBlockOfTheWriteArrived) {
  write(0, granules);
  write_partly(8, 4, 0);
  read_all();
  EXPECT_EQ(model.count(Fault::lost), 4U);
  EXPECT_EQ(model.count(Fault::torn), 0U);
}

TEST_F(ModelTest, TornInsideABlock) {
  write(0, granules);
  const Bytes old = keep(9);
  write(9, 1);
  std::copy(old.begin() + 256, old.end(), at(9) + 256);
  read_all();
  expect_only(Fault::torn, 9);
}

TEST_F(ModelTest, CorruptByOneBit) {
  write(0, granules);
  *(at(9) + 300) ^= std::byte{4};
  read_all();
  expect_only(Fault::corrupt, 9);
}

TEST_F(ModelTest, CorruptByForeignData) {
  write(0, granules);
  std::fill_n(at(9), granule, std::byte{0x5a});
  read_all();
  expect_only(Fault::corrupt, 9);
  EXPECT_FALSE(model.failures()[0].found);
}

TEST_F(ModelTest, CorruptWhenTheReadBroughtNothing) {
  write(0, granules);
  std::fill_n(at(9), granule, untouched);
  read_all();
  expect_only(Fault::corrupt, 9);
  EXPECT_NE(model.failures()[0].sentence.find("not transferred"), std::string::npos);
}

TEST_F(ModelTest, CorruptWhenItClaimsAWriteThatWasNotMade) {
  write(0, granules);
  Bytes block(granule);
  fill_block(block, {.device = 1,
                     .offset = begin + 9 * granule,
                     .run = 2,
                     .write = 77,
                     .generation = 5,
                     .position = 0,
                     .length = 1});
  plant(9, block);
  read_all();
  expect_only(Fault::corrupt, 9);
}

TEST_F(ModelTest, Zeroed) {
  write(0, granules);
  std::fill_n(at(9), granule, std::byte{});
  read_all();
  expect_only(Fault::zeroed, 9);
}

TEST_F(ModelTest, AFailedWriteMayHaveArrivedOrNot) {
  write(0, granules);
  for (const std::uint32_t index : {9U, 10U}) {
    const std::uint64_t number = model.begin_write(index, 1);
    Bytes data(granule);
    model.fill(number, data);
    if (index == 9) plant(9, data);
    model.fail(number);
  }
  read_all();
  EXPECT_TRUE(model.failures().empty());
}

TEST_F(ModelTest, AllFaultsAreCountedSomeAreKept) {
  VerifyModel large({.device = 1, .run = 2, .begin = 0, .granule_bytes = 512, .granules = 1000});
  Bytes data(1000 * 512);
  large.fill(large.begin_write(0, 1000), data);
  large.acknowledge(1);
  large.check(0, Bytes(1000 * 512));
  large.finish();
  EXPECT_EQ(large.count(Fault::zeroed), 1000U);
  EXPECT_EQ(large.failures().size(), VerifyModel::failures_kept);
}

}  // namespace
}  // namespace ublkbench::load
