// SPDX-License-Identifier: MIT
// Handing requests between two tasks: nothing is lost, nothing comes twice, and nobody sleeps for
// ever on a queue that has something.
#include "bench/server/handover.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "bench/ring/ring.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t give_up_ns = 20'000'000'000;

TEST(HandoverQueue, KeepsOrderAndWrapsAround) {
  HandoverQueue queue(4);
  std::uint32_t next = 0;
  for (std::uint32_t slot = 0; slot < 1000;) {
    for (int burst = 0; burst < 3; ++burst) queue.push({.slot = slot++, .result = -1});
    EXPECT_FALSE(queue.empty());
    queue.drain([&](const Handed& handed) {
      EXPECT_EQ(handed.slot, next++);
      EXPECT_EQ(handed.result, -1);
    });
    EXPECT_TRUE(queue.empty());
  }
  EXPECT_EQ(next, 999U + 3);
}

/// One side of a ping-pong: hands on what it gets until it has had `rounds`.
class Player {
 public:
  Player(WakeBy by, HandoverQueue& in, HandoverQueue& out) : by_(by), in_(in), out_(out) {}

  void open() {
    auto ring = Ring::create({.sq_entries = 16});
    ASSERT_TRUE(ring) << ring.error().message();
    ring_.emplace(std::move(*ring));
    auto wakeup = Wakeup::create(*ring_, by_);
    ASSERT_TRUE(wakeup) << wakeup.error().message();
    wakeup_ = std::move(*wakeup);
    opened_.store(true, std::memory_order_release);
  }
  [[nodiscard]] bool opened() const { return opened_.load(std::memory_order_acquire); }
  Wakeup& wakeup() { return *wakeup_; }

  /// Plays until `rounds` came in; sleeps whenever nothing is there. False when it slept too long.
  bool play(Player& other, unsigned rounds, bool serves) {
    unsigned seen = 0;
    if (serves) hand_on(other, {.slot = 0});
    while (seen < rounds) {
      bool got = false;
      in_.drain([&](const Handed& handed) {
        got = true;
        ++seen;
        if (seen < rounds || !serves) hand_on(other, {.slot = handed.slot + 1});
      });
      if (got) continue;
      wakeup_->will_sleep();
      const int ret = in_.empty() ? ring_->submit_timeout(1, give_up_ns) : ring_->submit_and_look();
      wakeup_->awake();
      if (ret == -ETIME) return false;
      ring_->reap([this](const io_uring_cqe& cqe) { wakeup_->completion(cqe); });
    }
    (void)ring_->submit(0);
    return true;
  }

 private:
  void hand_on(Player& other, const Handed& handed) {
    out_.push(handed);
    other.wakeup().wake(*ring_, counters_);
    (void)ring_->submit(0);
  }

  WakeBy by_;
  HandoverQueue& in_;
  HandoverQueue& out_;
  std::optional<Ring> ring_;
  std::unique_ptr<Wakeup> wakeup_;
  DaemonCounters counters_;
  std::atomic<bool> opened_ = false;
};

class WakeupTest : public testing::TestWithParam<WakeBy> {};

TEST_P(WakeupTest, NoWakeIsLost) {
  constexpr unsigned rounds = 3000;
  HandoverQueue there(4);
  HandoverQueue back(4);
  const auto first = std::make_unique<Player>(GetParam(), back, there);
  const auto second = std::make_unique<Player>(GetParam(), there, back);
  std::atomic<bool> second_done = false;
  std::thread thread([&] {
    second->open();
    while (!first->opened()) std::this_thread::yield();
    second_done = second->play(*first, rounds, false);
  });
  first->open();
  while (!second->opened()) std::this_thread::yield();
  EXPECT_TRUE(first->play(*second, rounds, true));
  thread.join();
  EXPECT_TRUE(second_done);
}

INSTANTIATE_TEST_SUITE_P(Ways, WakeupTest, testing::Values(WakeBy::eventfd, WakeBy::msg_ring),
                         [](const auto& way) {
                           return way.param == WakeBy::eventfd ? "eventfd" : "msg_ring";
                         });

}  // namespace
}  // namespace ublkbench
