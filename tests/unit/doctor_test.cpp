// SPDX-License-Identifier: MIT
#include "bench/tools/doctor.hpp"

#include <gtest/gtest.h>

namespace ublkbench {
namespace {

const Findings findings{{"short", CheckStatus::ok, "fine", ""},
                        {"a longer name", CheckStatus::warn, "not so fine", "do this"}};

TEST(Doctor, ColumnsAreAlignedAndAdviceStandsUnderTheFinding) {
  EXPECT_EQ(format_findings(findings, false),
            "ok    short          fine\n"
            "warn  a longer name  not so fine\n"
            "                     -> do this\n");
}

TEST(Doctor, ColorChangesNoColumn) {
  const std::string colored = format_findings(findings, true);
  EXPECT_NE(colored.find("\x1b[32mok\x1b[0m    short"), std::string::npos) << colored;
  EXPECT_NE(colored.find("\x1b[33mwarn\x1b[0m  a longer name"), std::string::npos) << colored;
}

}  // namespace
}  // namespace ublkbench
