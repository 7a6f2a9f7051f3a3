// SPDX-License-Identifier: MIT
#include "bench/targets/written_extents.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "bench/base/fd.hpp"
#include "tests/unit/temp_file.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t size = 8 << 20;

TEST(WrittenExtents, CountsNoHoles) {
  const test::TempFile file(size);
  auto written = written_of({file.path()});
  ASSERT_TRUE(written);
  EXPECT_EQ(written->written_bytes, 0U);
  EXPECT_EQ(written->bytes, size);
  file.write(1 << 20, std::vector<std::byte>(2 << 20, std::byte{1}));
  written = written_of({file.path()});
  EXPECT_EQ(written->written_bytes, 2U << 20);
}

TEST(WrittenExtents, CountsNothingThatIsOnlyAllocated) {
  const test::TempFile file(0);
  const auto fd = open_file(file.path(), O_RDWR);
  if (::fallocate(fd->get(), 0, 0, size) != 0) GTEST_SKIP() << "a file system without fallocate";
  file.write(4 << 20, std::vector<std::byte>(1 << 20, std::byte{1}));
  const auto written = written_of({file.path()});
  ASSERT_TRUE(written);
  if (!written->in_memory) {
    EXPECT_EQ(written->written_bytes, 1U << 20);
  }
}

TEST(WrittenExtents, AddsUpFilesAndKnowsNothingOfOthers) {
  const test::TempFile one(size);
  const test::TempFile two(size);
  one.write(0, std::vector<std::byte>(size, std::byte{1}));
  const auto written = written_of({one.path(), two.path()});
  ASSERT_TRUE(written);
  EXPECT_EQ(written->written_bytes, size);
  EXPECT_EQ(written->bytes, 2 * size);
  EXPECT_FALSE(written_of({one.path(), "/dev/null"}));
  EXPECT_FALSE(written_of({}));
}

}  // namespace
}  // namespace ublkbench
