// SPDX-License-Identifier: MIT
#include "bench/load/verify_block.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace ublkbench::load {
namespace {

using Block = std::vector<std::byte>;

BlockIdentity identity(std::uint32_t generation = 3) {
  return {.device = 11,
          .offset = 8192,
          .run = 7,
          .write = 100 + generation,
          .generation = generation,
          .position = 1,
          .length = 2};
}

Block make_block(const BlockIdentity& who, std::size_t bytes = 512) {
  Block block(bytes);
  fill_block(block, who);
  return block;
}

void flip(Block& block, std::size_t at) { block[at] ^= std::byte{1}; }

TEST(Crc32c, KnownAnswer) {
  constexpr std::string_view text = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(text))), 0xe3069283U);
  EXPECT_EQ(crc32c_portable(std::as_bytes(std::span(text))), 0xe3069283U);
}

TEST(Crc32c, FastAndPortableAgreeForAllLengthsAndContinue) {
  const Block block = make_block(identity());
  for (std::size_t bytes = 0; bytes < 70; ++bytes) {
    const auto part = std::span(block).subspan(bytes % 7, bytes);
    EXPECT_EQ(crc32c(part), crc32c_portable(part));
  }
  const auto all = std::span(block);
  EXPECT_EQ(crc32c(all.subspan(100), crc32c(all.first(100))), crc32c(all));
}

TEST(VerifyBlock, IsWhatItWasMadeAs) {
  for (const std::size_t bytes : {512U, 4096U}) {
    const BlockView view = inspect_block(make_block(identity(), bytes));
    EXPECT_EQ(view.state, BlockState::intact);
    EXPECT_EQ(view.found, identity());
  }
}

TEST(VerifyBlock, PayloadDependsOnRunOffsetAndGeneration) {
  const Block base = make_block(identity());
  const auto same_words = [&](BlockIdentity who) {
    const Block other = make_block(who);
    int same = 0;
    for (std::size_t at = 64; at < 496; at += 8)
      same += std::equal(&base[at], &base[at] + 8, &other[at]) ? 1 : 0;
    return same;
  };
  BlockIdentity who = identity();
  EXPECT_EQ(same_words(who), 54);
  who.write += 1;  // of the same generation: only header and trailer differ
  EXPECT_EQ(same_words(who), 54);
  who = identity(4);
  EXPECT_EQ(same_words(who), 0);
  who = identity();
  who.run += 1;
  EXPECT_EQ(same_words(who), 0);
  who = identity();
  who.offset += 512;
  EXPECT_EQ(same_words(who), 0);
}

TEST(VerifyBlock, EveryFlippedBitIsNoticed) {
  const Block good = make_block(identity());
  for (std::size_t at = 0; at < good.size(); ++at) {
    Block bad = good;
    flip(bad, at);
    EXPECT_NE(inspect_block(bad).state, BlockState::intact) << at;
  }
}

TEST(VerifyBlock, CorruptPayloadIsLocated) {
  Block block = make_block(identity());
  flip(block, 203);
  const BlockView view = inspect_block(block);
  EXPECT_EQ(view.state, BlockState::corrupt);
  EXPECT_EQ(view.found, identity());
  EXPECT_EQ(view.first_bad_byte, 200U);  // words of eight bytes
}

TEST(VerifyBlock, ZeroesAreNotCorruption) {
  EXPECT_EQ(inspect_block(Block(512)).state, BlockState::zeroed);
}

TEST(VerifyBlock, ForeignDataHasNoHeader) {
  EXPECT_EQ(inspect_block(Block(512, std::byte{0x5a})).state, BlockState::headerless);
  Block block = make_block(identity());
  flip(block, 30);
  EXPECT_EQ(inspect_block(block).state, BlockState::headerless);
}

TEST(VerifyBlock, TornWhereverTheWritesMeet) {
  const Block older = make_block(identity(2));
  const Block newer = make_block(identity(3));
  for (std::size_t cut = 64; cut <= 496; cut += 8) {  // up to and with the trailer
    Block new_head = newer;
    std::copy(older.begin() + static_cast<std::ptrdiff_t>(cut), older.end(),
              new_head.begin() + static_cast<std::ptrdiff_t>(cut));
    const BlockView view = inspect_block(new_head);
    EXPECT_EQ(view.state, BlockState::torn) << cut;
    EXPECT_EQ(view.found, identity(3));
    EXPECT_EQ(view.first_bad_byte, cut);
    Block old_head = older;
    std::copy(newer.begin() + static_cast<std::ptrdiff_t>(cut), newer.end(),
              old_head.begin() + static_cast<std::ptrdiff_t>(cut));
    EXPECT_EQ(inspect_block(old_head).state, BlockState::torn) << cut;
  }
}

TEST(VerifyBlock, TornInTheMiddle) {
  const Block older = make_block(identity(2));
  Block block = make_block(identity(3));
  std::copy(older.begin() + 128, older.begin() + 256, block.begin() + 128);
  const BlockView view = inspect_block(block);
  EXPECT_EQ(view.state, BlockState::torn);
  EXPECT_EQ(view.first_bad_byte, 128U);
}

}  // namespace
}  // namespace ublkbench::load
