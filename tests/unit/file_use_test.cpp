// SPDX-License-Identifier: MIT
#include "bench/base/file_use.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "bench/base/fd.hpp"
#include "tests/unit/temp_file.hpp"

namespace ublkbench {
namespace {

TEST(FileUse, AHardLinkIsTheSameFile) {
  const test::TempFile file(4096);
  const test::TempFile other(4096);
  const std::string link = file.path() + ".link";
  ASSERT_EQ(::link(file.path().c_str(), link.c_str()), 0);
  EXPECT_TRUE(overlaps(*file_id(file.path()), *file_id(link)));
  EXPECT_FALSE(overlaps(*file_id(file.path()), *file_id(other.path())));
  ::unlink(link.c_str());
  EXPECT_FALSE(file_id(link));
}

TEST(FileUse, NobodyUsesANewFile) {
  const test::TempFile file(4096);
  EXPECT_FALSE(kernel_use(*file_id(file.path()), true));
}

TEST(FileUse, AWriterKeepsOthersOutAndReadersShare) {
  const test::TempFile file(4096);
  const auto open = [&](int flags) { return *open_file(file.path(), flags); };
  {
    const Fd reader = open(O_RDONLY);
    const Fd second = open(O_RDONLY);
    EXPECT_TRUE(hold(reader.get(), file.path(), false));
    EXPECT_TRUE(hold(second.get(), file.path(), false));
    const Fd writer = open(O_RDWR);
    EXPECT_TRUE(is_held(writer.get(), true));
    EXPECT_FALSE(is_held(writer.get(), false));
    EXPECT_EQ(hold(writer.get(), file.path(), true).error().errnum, EBUSY);
  }
  const Fd writer = open(O_RDWR);
  EXPECT_TRUE(hold(writer.get(), file.path(), true));
  const Fd reader = open(O_RDONLY);
  EXPECT_EQ(hold(reader.get(), file.path(), false).error().errnum, EBUSY);
}

TEST(FileUse, TheHoldOutlivesOtherDescriptorsOfTheFile) {
  const test::TempFile file(4096);
  const Fd writer = *open_file(file.path(), O_RDWR);
  ASSERT_TRUE(hold(writer.get(), file.path(), true));
  { const Fd passing = *open_file(file.path(), O_RDWR); }
  const Fd copy(::dup(writer.get()));
  const Fd late = *open_file(file.path(), O_RDWR);
  EXPECT_TRUE(is_held(late.get(), true));
}

}  // namespace
}  // namespace ublkbench
