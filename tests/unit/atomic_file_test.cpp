// SPDX-License-Identifier: MIT
#include "bench/base/atomic_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <iterator>
#include <ranges>

#include "bench/base/fd.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "tests/unit/temporary_folder.hpp"

namespace ublkbench {
namespace {

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t files_in(const std::string& folder) {
  const std::filesystem::directory_iterator entries(folder);
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

TEST(WriteFileAtomically, ReplacesTheWholeFileAndLeavesNoTemporary) {
  const TemporaryFolder folder;
  ASSERT_TRUE(write_file_atomically(folder.path("a"), "a long first version"));
  ASSERT_TRUE(write_file_atomically(folder.path("a"), "short"));
  EXPECT_EQ(contents(folder.path("a")), "short");
  EXPECT_EQ(files_in(folder.path()), 1U);
}

TEST(WriteFileAtomically, KeepsModeAndLink) {
  const TemporaryFolder folder;
  folder.write("real/file", "old");
  ::chmod(folder.path("real/file").c_str(), 0640);
  std::filesystem::create_symlink("real/file", folder.path("link"));
  ASSERT_TRUE(write_file_atomically(folder.path("link"), "new"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path("link")));
  EXPECT_EQ(contents(folder.path("real/file")), "new");
  struct stat status{};
  ASSERT_EQ(::stat(folder.path("real/file").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
}

TEST(WriteFileAtomically, FullDeviceIsNamedAndStaysADevice) {
  const auto written = write_file_atomically("/dev/full", "x");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().errnum, ENOSPC);
  EXPECT_EQ(written.error().message(),
            "write /dev/full: No space left on device; free some space, or name another file");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

TEST(WriteFileAtomically, MissingFolderAndFolderItselfAreErrors) {
  const TemporaryFolder folder;
  EXPECT_EQ(write_file_atomically(folder.path("none/file"), "x").error().errnum, ENOENT);
  EXPECT_EQ(write_file_atomically(folder.path(), "x").error().errnum, EISDIR);
}

TEST(AppendLine, KeepsWhatIsThere) {
  const TemporaryFolder folder;
  ASSERT_TRUE(append_line(folder.path("a"), "{\"n\":1}"));
  ASSERT_TRUE(append_line(folder.path("a"), "{\"n\":2}"));
  EXPECT_EQ(contents(folder.path("a")), "{\"n\":1}\n{\"n\":2}\n");
}

TEST(AppendLine, CutsOffATornLine) {
  const TemporaryFolder folder;
  for (const std::size_t torn : {std::size_t{3}, std::size_t{4095}, std::size_t{10000}}) {
    folder.write("a", "first\n" + std::string(torn, 'x'));
    ASSERT_TRUE(append_line(folder.path("a"), "second"));
    EXPECT_EQ(contents(folder.path("a")), "first\nsecond\n") << torn;
  }
  folder.write("a", std::string(5000, 'x'));
  ASSERT_TRUE(append_line(folder.path("a"), "only"));
  EXPECT_EQ(contents(folder.path("a")), "only\n");
}

TEST(AppendLine, TakesBackALineThatDoesNotFit) {
  const TemporaryFolder folder;
  folder.write("a", "first\n");
  // In a child: the limit on file size holds for a whole process.
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = 10, .rlim_max = 10};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto appended = append_line(folder.path("a"), "longer than four bytes");
    ::_exit(!appended && appended.error().errnum == EFBIG ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(contents(folder.path("a")), "first\n");
}

TEST(AppendLine, FullDeviceAndNewlineAreErrors) {
  EXPECT_EQ(append_line("/dev/full", "x").error().errnum, ENOSPC);
  const TemporaryFolder folder;
  EXPECT_FALSE(append_line(folder.path("a"), "two\nlines"));
}

TEST(AppendLine, ProcessesDoNotMixLines) {
  const TemporaryFolder folder;
  constexpr int processes = 3;
  constexpr int lines = 20;
  for (int process = 0; process < processes; ++process) {
    if (::fork() != 0) continue;
    for (int line = 0; line < lines; ++line)
      if (!append_line(folder.path("a"), std::string(9000, static_cast<char>('a' + process))))
        ::_exit(1);
    ::_exit(0);
  }
  for (int process = 0; process < processes; ++process) {
    int status = 0;
    ::wait(&status);
    EXPECT_EQ(status, 0);
  }
  const auto read = split(contents(folder.path("a")), '\n');
  EXPECT_EQ(read.size(), processes * lines + 1);  // and nothing behind the last newline
  for (const std::string& line : read | std::views::take(processes * lines))
    EXPECT_EQ(line, std::string(9000, line.front()));
}

TEST(OwnedFile, IsRefusedToOthersByNameUntilItsOwnerEnds) {
  const TemporaryFolder folder;
  const std::string path = folder.path("run.json");
  {
    auto mine = OwnedFile::open(path);
    ASSERT_TRUE(mine);
    for (const char* text : {"one", "two"}) {
      ASSERT_TRUE(mine->write(text));
      EXPECT_EQ(contents(path), text);
      const auto theirs = OwnedFile::open(path);
      ASSERT_FALSE(theirs);
      EXPECT_EQ(theirs.error().exit, ExitCode::usage);
      EXPECT_THAT(
          theirs.error().message(),
          testing::HasSubstr(formatted("{} is being written by process {}", path, ::getpid())));
    }
  }
  auto next = OwnedFile::open(path);
  ASSERT_TRUE(next);
  EXPECT_TRUE(next->write("three"));
}

/// Both looked before there was a file.
TEST(OwnedFile, TheSecondOfTwoThatMakeAFileIsRefused) {
  const TemporaryFolder folder;
  auto first = OwnedFile::open(folder.path("a"));
  auto second = OwnedFile::open(folder.path("a"));
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(first->write("first"));
  EXPECT_FALSE(second->write("second"));
  EXPECT_EQ(contents(folder.path("a")), "first");
  EXPECT_TRUE(first->write("first again"));
}

TEST(OwnedFile, WhatIsNoFileIsWrittenTo) {
  auto first = OwnedFile::open("/dev/null");
  auto second = OwnedFile::open("/dev/null");
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(first->write("a"));
  EXPECT_TRUE(second->write("b"));
}

TEST(ExclusiveUse, OfAFolder) {
  const TemporaryFolder folder;
  {
    const auto mine = ExclusiveUse::take(folder.path());
    ASSERT_TRUE(mine);
    EXPECT_FALSE(ExclusiveUse::take(folder.path()));
  }
  EXPECT_TRUE(ExclusiveUse::take(folder.path()));
}

}  // namespace
}  // namespace ublkbench
