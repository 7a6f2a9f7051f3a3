// SPDX-License-Identifier: MIT
#include "bench/suite/scheduler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/record/block_queue.hpp"
#include "tests/unit/temporary_folder.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;

constexpr const char* file = "sys/class/block/sda/queue/scheduler";

TEST(Scheduler, WhatIsInForceIsLeftAlone) {
  const TemporaryFolder machine;
  machine.write("dev/sda", "");
  machine.write(file, "[none] mq-deadline kyber\n");
  for (const char* word : {"none", "keep"}) {
    const auto choice = choose_scheduler("/dev/sda", word, machine.path());
    ASSERT_TRUE(choice) << choice.error().message();
    EXPECT_EQ(choice->found, "none");
    EXPECT_EQ(choice->in_force, "none");
    EXPECT_EQ(choice->asked, word);
    EXPECT_FALSE(choice->why_not);
  }
}

TEST(Scheduler, AWordThatIsTakenAndDoesNothingIsAnError) {
  // A plain file takes any word, and shows no other one in brackets.
  const TemporaryFolder machine;
  machine.write("dev/sda", "");
  machine.write(file, "none    [mq-deadline]\n");
  const auto choice = choose_scheduler("/dev/sda", "none", machine.path());
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().exit, ExitCode::usage);
  EXPECT_THAT(choice.error().message(), HasSubstr("does not offer it; it has none"));
}

TEST(Scheduler, ADeviceThatHasNoneTakesNoOther) {
  const TemporaryFolder machine;
  machine.write("dev/ram0", "");
  machine.write("sys/class/block/ram0/queue/nomerges", "0\n");
  const auto none = choose_scheduler("/dev/ram0", "none", machine.path());
  ASSERT_TRUE(none) << none.error().message();
  EXPECT_FALSE(none->in_force);
  const auto other = choose_scheduler("/dev/ram0", "kyber", machine.path());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().exit, ExitCode::usage);
  EXPECT_THAT(other.error().message(), HasSubstr("/dev/ram0 has no I/O scheduler"));
}

TEST(Scheduler, APartitionHasItsDisks) {
  const TemporaryFolder machine;
  machine.write("dev/sda1", "");
  machine.write(file, "none [bfq]\n");
  machine.write("sys/class/block/sda/sda1/partition", "1\n");
  std::filesystem::create_directory_symlink(machine.path("sys/class/block/sda/sda1"),
                                            machine.path("sys/class/block/sda1"));
  EXPECT_EQ(scheduler_in_force("/dev/sda1", machine.path()), "bfq");
}

TEST(Scheduler, OfTheDisksBelowAreRecorded) {
  const TemporaryFolder machine;
  machine.write("dev/dm-1", "");
  machine.write("sys/class/block/dm-1/queue/nomerges", "0\n");
  machine.write("sys/class/block/dm-1/slaves/dm-0/x", "");
  machine.write("sys/class/block/dm-0/slaves/sda/x", "");
  machine.write(file, "none [bfq]\n");
  EXPECT_THAT(queue_limits("/dev/dm-1", machine.path()).text,
              HasSubstr(R"("schedulers_below":{"sda":"bfq"})"));
  EXPECT_THAT(queue_limits("/dev/sda", machine.path()).text,
              testing::Not(HasSubstr("schedulers_below")));
}

}  // namespace
}  // namespace ublkbench
