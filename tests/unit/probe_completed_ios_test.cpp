// SPDX-License-Identifier: MIT
#include "probes/lib/completed_ios.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "bench/base/format.hpp"
#include "probes/lib/subject.hpp"
#include "temporary_folder.hpp"

namespace ublkbench::probes {
namespace {

class ProbeCompletedIos : public testing::Test {
 protected:
  /// Reads, writes, discards and flushes; all other fields would be seen, too.
  void disk(int id, unsigned reads, unsigned writes, unsigned discards = 0, unsigned flushes = 0) {
    folder_.write(
        formatted("ublkb{}/stat", id),
        formatted("{} 9 9 9 {} 9 9 9 9 9 9 {} 9 9 9 {} 9\n", reads, writes, discards, flushes));
  }
  void remove(int id) { std::filesystem::remove_all(folder_.path(formatted("ublkb{}", id))); }

  CompletedIos completed(const std::vector<int>& ids) {
    Subject subject;
    for (const int id : ids)
      subject.devices.push_back({.id = id, .queues = 1, .depth = 1, .flags = 0, .server = 0});
    return CompletedIos(subject, folder_.path());
  }

  TemporaryFolder folder_;
};

TEST_F(ProbeCompletedIos, CountsFromTheStartOn) {
  disk(0, 10, 20, 30, 40);
  disk(1, 1, 0);
  auto ios = completed({0, 1});
  EXPECT_EQ(ios.look(), 0U);
  disk(0, 11, 22, 33, 44);
  disk(1, 6, 0);
  EXPECT_EQ(ios.look(), 15U);
}

TEST_F(ProbeCompletedIos, ADiskThatIsGoneKeepsWhatItHad) {
  disk(0, 100, 0);
  auto ios = completed({0});
  disk(0, 107, 0);
  EXPECT_EQ(ios.look(), 7U);
  remove(0);
  EXPECT_EQ(ios.look(), 7U);
  folder_.write("ublkb0/stat", "");
  EXPECT_EQ(ios.look(), 7U);
}

TEST_F(ProbeCompletedIos, ANewDiskWithTheNumberAddsToIt) {
  disk(0, 100, 0);
  auto ios = completed({0});
  disk(0, 107, 0);
  EXPECT_EQ(ios.look(), 7U);
  disk(0, 5, 0);
  EXPECT_EQ(ios.look(), 12U);
}

TEST_F(ProbeCompletedIos, ADiskThatComesLaterCountsFromItsStart) {
  auto ios = completed({0});
  EXPECT_EQ(ios.look(), 0U);
  disk(0, 3, 4);
  EXPECT_EQ(ios.look(), 7U);
}

}  // namespace
}  // namespace ublkbench::probes
