// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <filesystem>
#include <map>
#include <memory>
#include <random>

#include "bench/base/fd.hpp"
#include "bench/base/format.hpp"
#include "bench/targets/file_steps.hpp"
#include "bench/targets/stripe.hpp"
#include "tests/unit/lane_rig.hpp"
#include "tests/unit/temporary_folder.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;
using testing_support::LaneRig;
using testing_support::Pages;

/// One sector of the data: where it must be.
struct Sector {
  std::uint32_t member;
  std::uint64_t offset;
  friend bool operator==(const Sector&, const Sector&) = default;
};

/// The naive model: deals out chunk after chunk, sector by sector.
std::vector<Sector> dealt_out(std::uint32_t members, std::uint64_t chunk_bytes,
                              std::uint64_t device_bytes) {
  std::vector<Sector> sectors;
  std::vector<std::uint64_t> filled(members);
  std::uint32_t member = 0;
  while (sectors.size() * 512 < device_bytes) {
    for (std::uint64_t at = 0; at < chunk_bytes; at += 512)
      sectors.push_back({.member = member, .offset = filled[member] + at});
    filled[member] += chunk_bytes;
    member = member + 1 == members ? 0 : member + 1;
  }
  return sectors;
}

/// Where the map's shares put each sector of a request; -1 in member where none does.
std::vector<Sector> placed(const StripeMap& map, std::uint64_t offset, std::uint64_t bytes) {
  std::vector<Sector> sectors(bytes / 512, Sector{.member = UINT32_MAX, .offset = 0});
  for (std::uint32_t index = 0; index < map.shares(offset, bytes); ++index) {
    const StripeMap::Share share = map.share(offset, bytes, index);
    std::uint64_t at = share.first_at;
    std::uint64_t piece_bytes = share.first_bytes;
    std::uint64_t there = share.offset;
    for (std::uint32_t piece = 0; piece < share.pieces; ++piece) {
      EXPECT_GT(piece_bytes, 0U);
      for (std::uint64_t byte = 0; byte < piece_bytes; byte += 512) {
        EXPECT_LT(at + byte, bytes);
        EXPECT_EQ(sectors[(at + byte) / 512].member, UINT32_MAX) << "two shares have it";
        sectors[(at + byte) / 512] = {.member = share.member, .offset = there + byte};
      }
      there += piece_bytes;
      at = piece == 0 ? share.second_at : at + map.piece_distance();
      piece_bytes = std::min(share.offset + share.bytes - there, map.chunk_bytes());
    }
    EXPECT_EQ(there, share.offset + share.bytes) << "pieces add up to the share";
  }
  return sectors;
}

TEST(StripeMap, AgreesWithDealingOutChunkByChunk) {
  std::mt19937_64 random(7);
  for (const std::uint32_t members : {2U, 3U, 4U, 5U, 7U, 16U})
    for (const std::uint64_t chunk : {512U, 1536U, 4096U, 12288U, 65536U}) {
      const StripeMap map(members, chunk);
      const std::uint64_t device = map.device_bytes(chunk * 10 - 1);
      EXPECT_EQ(device, chunk * 9 * members);
      const auto expected = dealt_out(members, chunk, device);
      for (int round = 0; round < 60; ++round) {
        const std::uint64_t first = random() % expected.size();
        const std::uint64_t count =
            random() % std::min<std::size_t>(expected.size() - first, 600) + 1;
        const auto got = placed(map, first * 512, count * 512);
        const std::vector<Sector> want(expected.begin() + static_cast<long>(first),
                                       expected.begin() + static_cast<long>(first + count));
        ASSERT_EQ(got, want) << members << " members, chunk " << chunk << ", sector " << first
                             << " + " << count;
        for (std::uint64_t sector = 0; sector < count; ++sector) {
          const auto place = map.place((first + sector) * 512);
          ASSERT_EQ((Sector{place.member, place.offset}), want[sector]);
        }
        std::uint64_t pieces = 0;
        for (std::uint32_t index = 0; index < map.shares(first * 512, count * 512); ++index)
          pieces += map.share(first * 512, count * 512, index).pieces;
        ASSERT_LE(pieces, map.max_pieces(count * 512));
      }
    }
}

TEST(StripeSpec, WordsAndTheirErrors) {
  const auto spec = parse_stripe("/dev/a,/dev/by-path/pci-0000:00:1f.2,c:chunk=12k");
  ASSERT_TRUE(spec);
  EXPECT_THAT(spec->paths, testing::ElementsAre("/dev/a", "/dev/by-path/pci-0000:00:1f.2", "c"));
  EXPECT_EQ(spec->chunk_bytes, 12U << 10);
  EXPECT_EQ(parse_stripe("a,b")->chunk_bytes, 64U << 10);
  for (const auto& [words, says] : {std::pair{"a", "1 members"},
                                    {"", "0 members"},
                                    {"a,,b", "an empty path"},
                                    {"a,b:chunk=100", "chunk of 100 bytes"},
                                    {"a,b:chunk=0", "chunk of 0 bytes"},
                                    {"a,b:chunk=x", "'x' is not a size"}}) {
    const auto bad = parse_stripe(words);
    ASSERT_FALSE(bad) << words;
    EXPECT_EQ(bad.error().exit, ExitCode::usage);
    EXPECT_THAT(bad.error().message(), HasSubstr(says));
  }
}

class StripeTest : public testing::Test {
 protected:
  /// Members of different sizes; the smallest is 1 MiB and a bit.
  std::string members(unsigned count) {
    std::string paths;
    for (unsigned number = 0; number < count; ++number) {
      const std::string name = formatted("member{}", number);
      folder_.write(name, "");
      std::filesystem::resize_file(folder_.path(name), (1 << 20) + 8192 * (number + 1));
      paths += (number == 0 ? "" : ",") + folder_.path(name);
    }
    return paths;
  }
  TemporaryFolder folder_;
};

TEST_F(StripeTest, SizeIsWholeChunksOfTheSmallestMember) {
  auto target = make_target("stripe:" + members(3) + ":chunk=12k");
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ((*target)->shape().bytes, ((1 << 20) + 8192) / 12288 * 12288 * 3);
  EXPECT_EQ((*target)->files().size(), 3U);
}

TEST_F(StripeTest, ItsLayoutIsItsChunkAndMembersWhateverTheWords) {
  const std::string paths = members(2);
  const auto layout = [](const std::string& spec) { return (*make_target(spec))->data_layout(); };
  const std::string usual = layout("stripe:" + paths);
  EXPECT_EQ(layout("stripe:" + paths + ":chunk=64k"), usual);
  EXPECT_EQ(layout("stripe:" + paths + ":chunk=64k+fault:delay=1ms"), usual);
  EXPECT_NE(layout("stripe:" + paths + ":chunk=128k"), usual);
  EXPECT_NE(layout("stripe:" + members(3)), usual);
  EXPECT_NE(layout("loop:" + paths.substr(0, paths.find(','))), usual);
}

TEST_F(StripeTest, TheSameFileTwiceIsRefused) {
  const std::string one = members(1);
  const std::string link = folder_.path("link");
  std::filesystem::create_symlink(one, link);
  for (const std::string& other : {one, link}) {
    const auto target = make_target("stripe:" + one + "," + other);
    ASSERT_FALSE(target);
    EXPECT_THAT(target.error().message(), HasSubstr("twice"));
    EXPECT_EQ(target.error().exit, ExitCode::usage);
  }
}

TEST_F(StripeTest, WhatWasWrittenIsReadBackAndIsWhereTheModelSays) {
  auto target = make_target("stripe:" + members(3) + ":chunk=12k");
  ASSERT_TRUE(target) << target.error().message();
  LaneRig rig(**target);
  std::mt19937_64 random(3);
  std::vector<std::byte> model((*target)->shape().bytes);
  for (int round = 0; round < 60; ++round) {
    const std::uint64_t bytes = (random() % 64 + 1) * 4096;
    const std::uint64_t offset = random() % ((model.size() - bytes) / 4096) * 4096;
    const Pages pages(bytes);
    for (std::byte& byte : pages.bytes()) byte = static_cast<std::byte>(random());
    ASSERT_EQ(rig.write(offset, pages.bytes(), round % 4 == 0), static_cast<std::int32_t>(bytes));
    std::ranges::copy(pages.bytes(), model.begin() + static_cast<long>(offset));
  }
  EXPECT_EQ(rig.serve({.op = Op::flush}), 0);
  const Pages all(1 << 20, 0xee);
  ASSERT_EQ(rig.read(4096, all.bytes()), 1 << 20);
  EXPECT_EQ(std::memcmp(all.bytes().data(), model.data() + 4096, 1 << 20), 0);

  const auto places = dealt_out(3, 12288, model.size());
  for (unsigned number = 0; number < 3; ++number) {
    std::ifstream member(folder_.path(formatted("member{}", number)), std::ios::binary);
    for (std::size_t sector = 0; sector < places.size(); ++sector) {
      if (places[sector].member != number) continue;
      char bytes[512];
      member.seekg(static_cast<long>(places[sector].offset)).read(bytes, sizeof(bytes));
      ASSERT_EQ(std::memcmp(bytes, model.data() + sector * 512, 512), 0) << sector;
    }
  }
}

bool kernel_has(int opcode) {
  const std::unique_ptr<io_uring_probe, decltype(&io_uring_free_probe)> probe(io_uring_get_probe(),
                                                                              &io_uring_free_probe);
  return probe && io_uring_opcode_supported(probe.get(), opcode) != 0;
}

bool punches_holes(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  return ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
}

TEST_F(StripeTest, RegisteredDataGoesWhereMemoryDoes) {
  if (!kernel_has(op_writev_fixed)) GTEST_SKIP() << "no WRITEV_FIXED before Linux 6.15";
  auto target = make_target("stripe:" + members(2) + ":chunk=4k");
  ASSERT_TRUE(target) << target.error().message();
  LaneRig rig(**target);
  const Pages pages(64 << 10, 0x5a);
  const Pages back(64 << 10, 0);
  const iovec buffers[] = {{pages.bytes().data(), 64 << 10}, {back.bytes().data(), 64 << 10}};
  ASSERT_TRUE(rig.ring().register_buffers(buffers, 2));
  // Buffers that a process registers are addressed by its addresses, the kernel's by offset.
  const std::int32_t written =
      rig.serve({.op = Op::write, .bytes = 64 << 10, .offset = 4096},
                {.place = Data::Place::registered, .index = 0, .memory = pages.bytes().data()});
  ASSERT_EQ(written, 64 << 10);
  ASSERT_EQ(
      rig.serve({.op = Op::read, .bytes = 64 << 10, .offset = 4096},
                {.place = Data::Place::registered, .index = 1, .memory = back.bytes().data()}),
      64 << 10);
  EXPECT_TRUE(back.all(0x5a));
}

TEST_F(StripeTest, DiscardAndWriteZeroesAreSplit) {
  auto target = make_target("stripe:" + members(3) + ":chunk=4k");
  ASSERT_TRUE(target) << target.error().message();
  if (!punches_holes(folder_.path("member0"))) GTEST_SKIP() << "no holes in this file system";
  ASSERT_TRUE((*target)->shape().discard);
  LaneRig rig(**target);
  for (const Op op : {Op::discard, Op::write_zeroes}) {
    const Pages ones(256 << 10, 0xff);
    ASSERT_EQ(rig.write(0, ones.bytes()), 256 << 10);
    ASSERT_EQ(rig.serve({.op = op, .bytes = 128 << 10, .offset = 20 << 10}), 0);
    ASSERT_EQ(rig.read(0, ones.bytes()), 256 << 10);
    for (std::size_t at = 0; at < ones.bytes().size(); ++at)
      ASSERT_EQ(ones.bytes()[at], at >= 20 << 10 && at < 148 << 10 ? std::byte{0} : std::byte{0xff})
          << at;
  }
}

TEST_F(StripeTest, AMemberThatGotShorterIsAnErrorAndNotASum) {
  auto target = make_target("stripe:" + members(2) + ":chunk=4k");
  ASSERT_TRUE(target) << target.error().message();
  LaneRig rig(**target);
  const Pages pages(64 << 10);
  ASSERT_EQ(rig.read(0, pages.bytes()), 64 << 10);
  std::filesystem::resize_file(folder_.path("member0"), 8192);
  EXPECT_EQ(rig.read(0, pages.bytes()), -EIO);
}

TEST_F(StripeTest, AFileSystemThatCannotPollIsRefusedByName) {
  auto target = make_target("stripe:" + members(2));
  ASSERT_TRUE(target) << target.error().message();
  struct statfs file_system{};
  ASSERT_EQ(::statfs(folder_.path("member0").c_str(), &file_system), 0);
  const auto can = (*target)->pollable(Data::Place::memory);
  if (can && file_system.f_type != TMPFS_MAGIC) GTEST_SKIP() << "a disk, perhaps with poll queues";
  ASSERT_FALSE(can);
  EXPECT_THAT(can.error().message(), HasSubstr("polled I/O on"));
}

}  // namespace
}  // namespace ublkbench
