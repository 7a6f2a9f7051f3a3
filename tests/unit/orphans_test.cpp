// SPDX-License-Identifier: MIT
#include "bench/control/orphans.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ublkbench::control {
namespace {

using ::testing::HasSubstr;

constexpr Stamp some_stamp{.pid = 4194303, .space = 0x7ffc, .start = 1023, .kept = false};

TEST(Stamp, HoldsEverythingAtItsLargest) {
  for (const bool kept : {false, true}) {
    Stamp stamp = some_stamp;
    stamp.kept = kept;
    EXPECT_EQ(decode(encode(stamp)), stamp);
  }
  const Stamp small{.pid = 1, .space = 0, .start = 0, .kept = true};
  EXPECT_EQ(decode(encode(small)), small);
}

TEST(Stamp, TellsItsOwnFromOthers) {
  constexpr std::uint64_t earlier = 0x75626e63ULL << 32 | 4711;
  EXPECT_EQ(decode(earlier), std::nullopt);
  EXPECT_EQ(earlier_stamp(earlier), 4711);
  EXPECT_EQ(earlier_stamp(encode(some_stamp)), std::nullopt);
  for (const std::uint64_t foreign : {0ULL, 1ULL, 2ULL, ~0ULL, 4711ULL, 0x7563ULL << 48}) {
    EXPECT_EQ(decode(foreign), std::nullopt) << foreign;
    EXPECT_EQ(earlier_stamp(foreign), std::nullopt) << foreign;
  }
}

TEST(Stamp, OfThisProcessLives) {
  const Stamp own = own_stamp();
  EXPECT_EQ(own.pid, ::getpid());
  EXPECT_NE(own.start, 0U);
  EXPECT_EQ(state_of(own), MakerState::alive);
  EXPECT_EQ(decode(encode(own)), own);
}

TEST(Stamp, OfAnotherPidNamespaceIsElsewhere) {
  Stamp other = own_stamp();
  other.space ^= 1;
  EXPECT_EQ(state_of(other), MakerState::elsewhere);
  other.space = 0;  // its /proc said nothing
  EXPECT_EQ(state_of(other), MakerState::elsewhere);
}

TEST(Stamp, OfAPidThatCameRoundAgainIsDead) {
  Stamp former = own_stamp();
  former.start = former.start == 1 ? 2 : former.start - 1;
  EXPECT_EQ(state_of(former), MakerState::dead);
  former.start = 0;  // not known: then the pid alone counts, and it lives
  EXPECT_EQ(state_of(former), MakerState::alive);
}

TEST(Stamp, OfAnEndedProcessIsDeadAlsoBeforeItIsReaped) {
  const pid_t child = ::fork();
  if (child == 0) ::pause();
  ASSERT_GT(child, 0);
  Stamp stamp = own_stamp();
  stamp.pid = child;
  stamp.start = 0;
  EXPECT_EQ(state_of(stamp), MakerState::alive);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(state_of(stamp), MakerState::dead);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(state_of(stamp), MakerState::dead);
}

/// All that makes a device ours and dead.
DeviceFacts orphan() {
  DeviceFacts facts;
  facts.stamp = encode(some_stamp);
  facts.maker = MakerState::dead;
  return facts;
}

TEST(Orphan, IsOursAndItsMakerAndServerEnded) {
  const auto verdict = judge(orphan());
  EXPECT_TRUE(verdict.orphan);
  EXPECT_THAT(verdict.why, HasSubstr("4194303"));
}

TEST(Orphan, EachDoubtSparesIt) {
  struct Row {
    const char* why;
    void (*doubt)(DeviceFacts&);
  };
  const Row rows[] = {
      {"not made by this suite", [](DeviceFacts& facts) { facts.stamp = 0; }},
      {"earlier version", [](DeviceFacts& facts) { facts.stamp = 0x75626e63ULL << 32 | 5; }},
      {"not made by this suite", [](DeviceFacts& facts) { facts.maker.reset(); }},
      {"another PID namespace", [](DeviceFacts& facts) { facts.maker = MakerState::elsewhere; }},
      {"process 4194303, which made it, lives",
       [](DeviceFacts& facts) { facts.maker = MakerState::alive; }},
      {"process 7 (srv) has it open",
       [](DeviceFacts& facts) { facts.served_by = "process 7 (srv)"; }},
      {"looks after it", [](DeviceFacts& facts) { facts.watched = true; }},
      {"waits for a server", [](DeviceFacts& facts) { facts.waits = true; }},
      {"--keep",
       [](DeviceFacts& facts) {
         Stamp kept = some_stamp;
         kept.kept = true;
         facts.stamp = encode(kept);
       }},
  };
  for (const Row& row : rows) {
    DeviceFacts facts = orphan();
    row.doubt(facts);
    const auto verdict = judge(facts);
    EXPECT_FALSE(verdict.orphan) << row.why;
    EXPECT_THAT(verdict.why, HasSubstr(row.why));
  }
}

}  // namespace
}  // namespace ublkbench::control
