// SPDX-License-Identifier: MIT
#include "bench/server/device_record.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "temp_file.hpp"

namespace ublkbench {
namespace {

std::string identity_of(const std::string& path) {
  const auto file = open_file(path, O_RDWR | O_CREAT);
  EXPECT_TRUE(file) << file.error().message();
  return file_identity(file->get());
}

bool knows_births(const std::string& path) {
  struct statx status{};
  return ::statx(AT_FDCWD, path.c_str(), 0, STATX_BTIME, &status) == 0 &&
         (status.stx_mask & STATX_BTIME) != 0;
}

TEST(FileIdentity, IsTheFilesWhateverItsName) {
  const test::TempFile file(4096);
  const std::string other = file.path() + "-too";
  ASSERT_EQ(::link(file.path().c_str(), other.c_str()), 0);
  EXPECT_EQ(identity_of(file.path()), identity_of(other));
  ::unlink(other.c_str());
}

// ext4 gives the number of the inode that was freed last to the next file.
TEST(FileIdentity, TellsAReplacedFileThatHasTheSameInodeNumber) {
  const test::TempFile beside(0);
  if (!knows_births(beside.path())) GTEST_SKIP() << "this file system does not say when";
  const std::string path = beside.path() + "-replaced";
  const std::string before = identity_of(path);
  ASSERT_EQ(::unlink(path.c_str()), 0);
  ::usleep(20'000);  // longer than the tick that inodes' times have
  EXPECT_NE(identity_of(path), before);
  ::unlink(path.c_str());
}

TEST(FileIdentity, ARecordWithoutTimesIsComparedWithoutThem) {
  const std::string number = "file 5 of file system 8:1";
  const std::string born = number + ", made at 17.000000001";
  using Lines = std::vector<std::string>;
  EXPECT_TRUE(same_files(Lines{number}, Lines{born}));
  EXPECT_TRUE(same_files(Lines{"metadata in " + number}, Lines{"metadata in " + born}));
  EXPECT_TRUE(same_files(Lines{born, number}, Lines{born, number}));
  EXPECT_FALSE(same_files(Lines{born}, Lines{number + ", made at 17.000000002"}));
  EXPECT_FALSE(same_files(Lines{"file 5 of file system 8:"}, Lines{born}));
  EXPECT_FALSE(same_files(Lines{number}, Lines{number, number}));
  EXPECT_FALSE(same_files(Lines{}, Lines{born}));
}

}  // namespace
}  // namespace ublkbench
