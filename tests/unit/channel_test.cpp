// SPDX-License-Identifier: MIT
#include "bench/server/channel.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <utility>

namespace ublkbench {
namespace {

TEST(Channel, WithoutTimeTakesWhatIsThere) {
  auto channel = make_channel();
  ASSERT_TRUE(channel);
  std::optional<ChannelWriter> writer(std::move(channel->writer));
  const auto nothing = channel->reader.next(0);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().errnum, ETIMEDOUT);

  writer->ready();
  writer->error({.operation = "FETCH of", .object = "queue 0", .errnum = EINVAL, .hint = {}});
  EXPECT_TRUE(channel->reader.next(0));
  const auto refused = channel->reader.next(0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "FETCH of queue 0: Invalid argument");

  writer.reset();
  const auto ended = channel->reader.next(0);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().errnum, ECHILD);
}

}  // namespace
}  // namespace ublkbench
