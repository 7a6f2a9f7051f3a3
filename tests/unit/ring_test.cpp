// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "bench/ring/chain.hpp"
#include "bench/ring/ring.hpp"
#include "bench/ring/user_data.hpp"

namespace ublkbench {
namespace {

TEST(UserData, ComesBackAsItWentIn) {
  for (const Owner owner : {Owner::io_command, Owner::step, Owner::batch_fetch, Owner::wake})
    for (const std::uint32_t index : {0U, 1U, 4095U, 0xffffffffU}) {
      const UserData data{.owner = owner, .phase = 0xab, .length = 0xbeef, .index = index};
      EXPECT_EQ(classify(encode(data)), data);
    }
}

TEST(UserData, FieldsDoNotOverlap) {
  const std::uint64_t owner = encode({.owner = static_cast<Owner>(0xff)});
  const std::uint64_t phase = encode({.owner = Owner::io_command, .phase = 0xff});
  const std::uint64_t length = encode({.owner = Owner::io_command, .length = 0xffff});
  const std::uint64_t index = encode({.owner = Owner::io_command, .index = 0xffffffff});
  EXPECT_EQ(owner ^ phase ^ length ^ index, ~0ULL);
  EXPECT_EQ(owner + phase + length + index, ~0ULL);
}

class RingTest : public testing::Test {
 protected:
  void SetUp() override {
    auto created = Ring::create({.sq_entries = 4});
    ASSERT_TRUE(created) << created.error().message();
    ring_.emplace(std::move(*created));
  }
  void queue_nop(std::uint64_t user_data) {
    io_uring_sqe* const sqe = ring_->sqe();
    io_uring_prep_nop(sqe);
    sqe->user_data = user_data;
  }
  std::optional<Ring> ring_;
};

TEST_F(RingTest, CompletesWhatWasSubmitted) {
  for (std::uint64_t id = 1; id <= 3; ++id) queue_nop(id);
  ASSERT_EQ(ring_->submit(3), 0);
  std::vector<std::uint64_t> seen;
  EXPECT_EQ(ring_->reap([&](const io_uring_cqe& cqe) { seen.push_back(cqe.user_data); }), 3U);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{1, 2, 3}));
  EXPECT_EQ(ring_->counters().enters, 1U);
  EXPECT_EQ(ring_->counters().submitted, 3U);
  EXPECT_EQ(ring_->counters().reaped, 3U);
}

TEST_F(RingTest, FullQueueIsSubmittedForTheNextEntry) {
  for (std::uint64_t id = 0; id < 6; ++id) queue_nop(id);  // two more than fit
  ASSERT_EQ(ring_->submit(6), 0);
  unsigned seen = 0;
  while (seen < 6) {
    ASSERT_EQ(ring_->submit(seen < 6 ? 1 : 0), 0);
    seen += ring_->reap([](const io_uring_cqe&) {});
  }
  EXPECT_EQ(seen, 6U);
  EXPECT_EQ(ring_->counters().submitted, 6U);
}

TEST_F(RingTest, LooksWithoutSleeping) {
  EXPECT_EQ(ring_->submit_and_look(), 0);
  EXPECT_EQ(ring_->completions_ready(), 0U);
  queue_nop(3);
  EXPECT_EQ(ring_->submit_and_look(), 0);
  EXPECT_EQ(ring_->completions_ready(), 1U);
}

TEST_F(RingTest, BatchWaitSettlesForLess) {
  queue_nop(1);
  const int ret = ring_->submit_batch_wait(1, 100, 1000);
  EXPECT_TRUE(ret == 0 || ret == -ETIME) << ret;
  EXPECT_EQ(ring_->completions_ready(), 1U);
}

TEST_F(RingTest, TimedWaitEnds) { EXPECT_EQ(ring_->submit_timeout(1, 1'000'000), -ETIME); }

TEST_F(RingTest, MoveKeepsTheRingAlive) {
  queue_nop(7);
  Ring moved = std::move(*ring_);
  ring_.reset();
  ASSERT_EQ(moved.submit(1), 0);
  std::uint64_t seen = 0;
  moved.reap([&](const io_uring_cqe& cqe) { seen = cqe.user_data; });
  EXPECT_EQ(seen, 7U);
}

TEST_F(RingTest, ChainAddsUpItsSteps) {
  ChainState state;
  const ChainRings rings{.io = &*ring_, .service = &*ring_};
  Chain chain(rings, state, 42);
  for (int step = 0; step < 2; ++step) {
    io_uring_sqe* const sqe = chain.step();
    io_uring_prep_nop(sqe);
    chain.queued(sqe, StepKind::data);
  }
  EXPECT_TRUE(chain.in_flight());
  ASSERT_EQ(ring_->submit(2), 0);
  std::vector<UserData> owners;
  ring_->reap([&](const io_uring_cqe& cqe) { owners.push_back(classify(cqe.user_data)); });
  ASSERT_EQ(owners.size(), 2U);
  EXPECT_EQ(owners[0].owner, Owner::step);
  EXPECT_EQ(owners[0].index, 42U);
  EXPECT_FALSE(settle_step(state, owners[0], 4096));
  EXPECT_TRUE(settle_step(state, owners[1], 8192));
  EXPECT_EQ(state.result, 12288);
}

TEST(ChainState, FirstErrorWins) {
  ChainState state{.pending = 3};
  const UserData data = {.owner = Owner::step, .phase = static_cast<std::uint8_t>(StepKind::data)};
  EXPECT_FALSE(settle_step(state, data, 100));
  EXPECT_FALSE(settle_step(state, data, -EIO));
  EXPECT_TRUE(settle_step(state, data, -ENOSPC));
  EXPECT_EQ(state.result, -EIO);
}

TEST(ChainState, ATimerThatEndedIsNoError) {
  ChainState state{.pending = 2};
  const UserData timer = {.owner = Owner::step,
                          .phase = static_cast<std::uint8_t>(StepKind::timer)};
  EXPECT_FALSE(settle_step(state, timer, -ETIME));
  EXPECT_EQ(state.result, 0);
  EXPECT_TRUE(settle_step(state, timer, -EINVAL));
  EXPECT_EQ(state.result, -EINVAL);
}

TEST(ChainState, ServiceStepsCountNoBytes) {
  ChainState state{.pending = 2};
  const UserData service = {.owner = Owner::step,
                            .phase = static_cast<std::uint8_t>(StepKind::service)};
  EXPECT_FALSE(settle_step(state, service, 16));
  EXPECT_EQ(state.result, 0);
  EXPECT_TRUE(settle_step(state, service, -EBUSY));
  EXPECT_EQ(state.result, -EBUSY);
}

}  // namespace
}  // namespace ublkbench
