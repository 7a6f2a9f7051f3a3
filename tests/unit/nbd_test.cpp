// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "bench/base/format.hpp"
#include "bench/targets/nbd.hpp"
#include "tests/unit/fake_nbd_server.hpp"
#include "tests/unit/lane_rig.hpp"
#include "tests/unit/temporary_folder.hpp"

namespace ublkbench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::FakeNbd;
using testing_support::FakeNbdServer;
using testing_support::LaneRig;
using testing_support::Pages;

TEST(NbdAddress, HostsAndTheirErrors) {
  const auto address = nbd::parse_address("disks.example:10809/backup/one");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->host, "disks.example");
  EXPECT_EQ(address->port, "10809");
  EXPECT_EQ(address->export_name, "backup/one");
  EXPECT_EQ(nbd::parse_address("[::1]:10809")->host, "::1");
  EXPECT_EQ(nbd::parse_address("localhost:nbd")->export_name, "");
  for (const char* words : {"", "localhost", ":10809", "localhost:", "unix:", "unix:/none/such"}) {
    const auto bad = nbd::parse_address(words);
    ASSERT_FALSE(bad) << words;
    EXPECT_EQ(bad.error().exit, ExitCode::usage);
  }
}

class NbdTest : public testing::Test {
 protected:
  std::string serve(const FakeNbd& behaviour = {}) {
    const std::string path = folder_.path(formatted("socket{}", ++sockets_));
    server_.emplace(path, behaviour);
    return "unix:" + path;
  }
  LaneRig& rig_on(const FakeNbd& behaviour, unsigned silence_limit_s = 60) {
    auto target = NbdTarget::make(serve(behaviour), {}, silence_limit_s);
    EXPECT_TRUE(target) << target.error().message();
    target_ = std::move(*target);
    rig_.emplace(*target_);
    return *rig_;
  }

  TemporaryFolder folder_;
  int sockets_ = 0;
  std::optional<FakeNbdServer> server_;
  std::unique_ptr<Target> target_;
  std::optional<LaneRig> rig_;
};

TEST_F(NbdTest, APathIsTheSocketAndTheRestTheName) {
  const std::string socket = serve({.export_name = "a/b"});
  const auto address = nbd::parse_address(socket + "/a/b");
  ASSERT_TRUE(address) << address.error().message();
  EXPECT_EQ("unix:" + address->socket_path, socket);
  EXPECT_EQ(address->export_name, "a/b");
  const auto same = make_target("nbd:" + socket + "/a/b");
  EXPECT_TRUE(same) << same.error().message();
  const auto other = make_target("nbd:" + socket + "/c");
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(), HasSubstr("no export of this name"));
  EXPECT_EQ(other.error().exit, ExitCode::usage);
}

TEST_F(NbdTest, ShapeFollowsTheExport) {
  const auto shape_of = [&](const FakeNbd& behaviour) {
    return (*NbdTarget::make(serve(behaviour)))->shape();
  };
  const DeviceShape all = shape_of({.bytes = (4 << 20) + 100});
  EXPECT_EQ(all.bytes, 4U << 20);
  EXPECT_TRUE(all.volatile_cache && all.fua && all.discard && all.write_zeroes && !all.read_only);
  const DeviceShape none = shape_of({.flags = 1 | nbd::read_only, .min_block_bytes = 4096});
  EXPECT_TRUE(!none.volatile_cache && !none.fua && !none.discard && !none.write_zeroes);
  EXPECT_TRUE(none.read_only);
  EXPECT_EQ(none.logical_block_shift, 12U);
  EXPECT_FALSE(NbdTarget::make(serve({.min_block_bytes = 1 << 16})));
  EXPECT_FALSE(NbdTarget::make(serve({.bytes = 1000})));
}

TEST_F(NbdTest, RequestsComeBackWhateverTheirSize) {
  LaneRig& rig = rig_on({});
  std::mt19937 random(4);
  for (const std::size_t bytes : {512U, 4096U, 65536U, 131072U, 1048576U}) {
    const Pages pages(std::max<std::size_t>(bytes, 4096));
    const auto part = pages.part(0, bytes);
    for (std::byte& byte : part) byte = static_cast<std::byte>(random());
    ASSERT_EQ(rig.write(1 << 20, part), static_cast<std::int32_t>(bytes));
    EXPECT_EQ(std::memcmp(server_->storage().data() + (1 << 20), part.data(), bytes), 0);
    const Pages back(std::max<std::size_t>(bytes, 4096));
    ASSERT_EQ(rig.read(1 << 20, back.part(0, bytes)), static_cast<std::int32_t>(bytes));
    EXPECT_EQ(std::memcmp(back.bytes().data(), part.data(), bytes), 0);
  }
  EXPECT_EQ(rig.counters().in_flight_ios.get(), 0U);
}

TEST_F(NbdTest, CommandsAreWhatTheProtocolSays) {
  LaneRig& rig = rig_on({});
  const Pages page(4096, 1);
  EXPECT_EQ(rig.write(0, page.bytes(), true), 4096);
  EXPECT_EQ(rig.serve({.op = Op::flush}), 0);
  EXPECT_EQ(rig.serve({.op = Op::discard, .bytes = 4096, .offset = 0}), 0);
  EXPECT_EQ(rig.serve({.op = Op::write_zeroes, .fua = true, .bytes = 4096, .offset = 4096}), 0);
  EXPECT_THAT(server_->commands(), ElementsAre(0x101, 3, 4, 0x106));
}

TEST_F(NbdTest, RepliesInAnyOrderFindTheirRequests) {
  LaneRig& rig = rig_on({.swap_replies = 8});
  for (std::size_t block = 0; block < 8; ++block)
    std::memset(server_->storage().data() + block * 65536, static_cast<int>(block) + 1, 65536);
  std::vector<Pages> pages;
  for (std::uint32_t slot = 0; slot < 8; ++slot) {
    pages.emplace_back(slot % 2 == 0 ? 4096 : 65536, 0xee);
    rig.start(slot,
              {.op = Op::read,
               .bytes = static_cast<std::uint32_t>(pages[slot].bytes().size()),
               .offset = slot * 65536ULL},
              {.place = Data::Place::memory, .memory = pages[slot].bytes().data()});
  }
  EXPECT_EQ(rig.counters().in_flight_ios.get(), 8U);
  EXPECT_EQ(rig.counters().chained_send_ios.get(), 7U) << "one turn's requests go in one chain";
  for (std::uint32_t slot = 0; slot < 8; ++slot) {
    EXPECT_EQ(rig.take(slot), static_cast<std::int32_t>(pages[slot].bytes().size()));
    EXPECT_TRUE(pages[slot].all(static_cast<unsigned char>(slot + 1))) << slot;
  }
}

TEST_F(NbdTest, RequestsBehindABusyChainWaitAndGoOn) {
  LaneRig& rig = rig_on({});
  const Pages large(1 << 20, 1);
  const Data data{.place = Data::Place::memory, .memory = large.bytes().data()};
  rig.start(0, {.op = Op::write, .bytes = 1 << 20}, data);
  (void)rig.ring().submit(0);
  for (std::uint32_t slot = 1; slot < 4; ++slot)
    rig.start(slot, {.op = Op::write, .bytes = 1 << 20, .offset = slot * (1ULL << 20)}, data);
  EXPECT_EQ(rig.counters().send_sqe_chain_busy.get(), 3U);
  for (std::uint32_t slot = 0; slot < 4; ++slot) EXPECT_EQ(rig.take(slot), 1 << 20);
  EXPECT_EQ(server_->storage()[(4 << 20) - 1], std::byte{1});
}

TEST_F(NbdTest, RegisteredDataGoesByWayOfMemory) {
  LaneRig& rig = rig_on({});
  const Pages pages(64 << 10, 0x5a);
  const iovec buffer{pages.bytes().data(), 64 << 10};
  ASSERT_TRUE(rig.ring().register_buffers(&buffer, 1));
  const Data data{.place = Data::Place::registered, .index = 0, .memory = pages.bytes().data()};
  ASSERT_EQ(rig.serve({.op = Op::write, .bytes = 64 << 10, .offset = 8192}, data), 64 << 10);
  EXPECT_EQ(server_->storage()[8192 + 65535], std::byte{0x5a});
  std::memset(server_->storage().data(), 0x77, 64 << 10);
  ASSERT_EQ(rig.serve({.op = Op::read, .bytes = 64 << 10, .offset = 0}, data), 64 << 10);
  EXPECT_TRUE(pages.all(0x77));
}

TEST_F(NbdTest, TheServersErrorsAreTheRequests) {
  LaneRig& rig = rig_on({.error_on_write = ENOSPC});
  const Pages page(4096, 1);
  EXPECT_EQ(rig.write(0, page.bytes()), -ENOSPC);
  EXPECT_EQ(rig.read(0, page.bytes()), 4096) << "the connection goes on";
  EXPECT_EQ(rig_on({.error_on_write = 9999}).write(0, page.bytes()), -EIO);
}

TEST_F(NbdTest, AServerThatIsGoneFailsAllThatWaitsAndAllThatComes) {
  const Pages page(4096, 1);
  const Data data{.place = Data::Place::memory, .memory = page.bytes().data()};
  for (const FakeNbd& behaviour :
       {FakeNbd{.close_after = 2}, FakeNbd{.silent_after = 2}, FakeNbd{.garbage_after = 2}}) {
    LaneRig& rig = rig_on(behaviour, 2);
    for (int number = 0; number < 2; ++number) ASSERT_EQ(rig.write(0, page.bytes()), 4096);
    for (std::uint32_t slot = 0; slot < 8; ++slot)
      rig.start(slot, {.op = slot % 2 == 0 ? Op::read : Op::write, .bytes = 4096}, data);
    for (std::uint32_t slot = 0; slot < 8; ++slot) EXPECT_EQ(rig.take(slot, 20000), -ENOLINK);
    EXPECT_EQ(rig.read(0, page.bytes()), -ENOLINK);
    EXPECT_EQ(rig.counters().in_flight_ios.get(), 0U);
  }
}

TEST_F(NbdTest, ALaneMoreNeedsThePromiseOfManyConnections) {
  for (const auto& [flags, connections] : {std::pair<std::uint16_t, int>{1, 1}, {1 | 256, 2}}) {
    LaneRig& first = rig_on({.flags = flags});
    (void)first;
    EXPECT_EQ(server_->connections(), 1) << "the first lane has the one that asked for the size";
    auto ring = Ring::create({.sq_entries = 8});
    ASSERT_TRUE(ring);
    const std::vector<int> files = target_->files();
    ASSERT_TRUE(ring->register_files(files.data(), 2));
    const auto second = target_->open_lane({.rings = {.io = &*ring, .service = &*ring},
                                            .slots = 1,
                                            .max_bytes = 4096,
                                            .unparker = &first});
    EXPECT_EQ(second.has_value(), connections == 2);
    if (!second) {
      EXPECT_THAT(second.error().message(), HasSubstr("NBD_FLAG_CAN_MULTI_CONN"));
    }
    EXPECT_EQ(server_->connections(), connections);
  }
}

TEST_F(NbdTest, WhatIsNoServerIsNamed) {
  const auto none = make_target("nbd:localhost:1");
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().message(), HasSubstr("localhost:1: Connection refused"));
  const auto small = NbdTarget::make(serve({.max_payload_bytes = 65536}));
  ASSERT_TRUE(small);
  auto ring = Ring::create({.sq_entries = 8});
  const auto lane = (*small)->open_lane(
      {.rings = {.io = &*ring, .service = &*ring}, .slots = 1, .max_bytes = 1 << 20});
  ASSERT_FALSE(lane);
  EXPECT_THAT(lane.error().message(), HasSubstr("64k at most: use --max-io"));
}

}  // namespace
}  // namespace ublkbench
