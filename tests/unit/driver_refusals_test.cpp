// SPDX-License-Identifier: MIT
// What bench/server/mode.cpp's refusal() says of the driver, asked of the driver itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/ublk_cmd.h>

#include "bench/control/control.hpp"
#include "bench/control/removal.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Dropped {
  std::uint64_t flag;
  std::string_view name;
};

class DriverRefusals : public testing::Test {
 protected:
  void SetUp() override {
    const auto features = control::features();
    if (!features) GTEST_SKIP() << features.error().message();
    if ((*features & UBLK_F_BATCH_IO) == 0) GTEST_SKIP() << "no UBLK_F_BATCH_IO here";
  }

  /// What control::add() says of a device with these flags, which is removed if there is one.
  static std::string answer(std::uint64_t flags) {
    const auto added = control::add({.flags = flags});
    if (!added) return added.error().message();
    const auto removed = control::remove(static_cast<int>(added->dev_id));
    return removed ? "granted" : removed.error().message();
  }
};

TEST_F(DriverRefusals, BatchDropsWhatIsBoundToTasks) {
  for (const Dropped& dropped : {Dropped{UBLK_F_NEED_GET_DATA, "NEED_GET_DATA"},
                                 Dropped{UBLK_F_PER_IO_DAEMON, "PER_IO_DAEMON"}}) {
    EXPECT_EQ(answer(dropped.flag), "granted") << dropped.name;
    const std::string refusal = answer(dropped.flag | UBLK_F_BATCH_IO);
    EXPECT_THAT(refusal, HasSubstr(dropped.name));
    EXPECT_THAT(refusal, Not(HasSubstr("BATCH_IO")));
  }
  EXPECT_EQ(answer(UBLK_F_BATCH_IO), "granted");
}

}  // namespace
}  // namespace ublkbench
