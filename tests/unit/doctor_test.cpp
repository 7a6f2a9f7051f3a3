// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/doctor.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "bench/control/device_limit.hpp"
#include "bench/control/driver_advice.hpp"
#include "bench/tools/ublkbench/doctor_io_uring.hpp"

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

IoUringFacts refused_with(int errnum) { return {.operation = "io_uring_setup", .errnum = errnum}; }

TEST(DoctorIoUring, ARingThatWorksIsFineWhateverTheSysctlSays) {
  auto facts = refused_with(0);
  EXPECT_EQ(io_uring_finding(facts).status, CheckStatus::ok);
  facts.disabled = 1;  // a member of kernel.io_uring_group
  facts.group = 1000;
  const Finding finding = io_uring_finding(facts);
  EXPECT_EQ(finding.status, CheckStatus::ok);
  EXPECT_TRUE(finding.finding.contains("lets this process in")) << finding.finding;
}

TEST(DoctorIoUring, TheSysctlIsNamedWhereItForbids) {
  auto facts = refused_with(EPERM);
  facts.disabled = 1;
  facts.group = 1000;
  Finding finding = io_uring_finding(facts);
  EXPECT_EQ(finding.status, CheckStatus::fail);
  EXPECT_TRUE(finding.finding.contains("group 1000")) << finding.finding;
  facts.group = -1;
  EXPECT_TRUE(io_uring_finding(facts).finding.contains("io_uring_group is unset"));
  facts.disabled = 2;
  facts.privileged = true;
  EXPECT_TRUE(io_uring_finding(facts).finding.contains("for everybody"));
}

TEST(DoctorIoUring, ASeccompFilterIsNamedWhereNoSysctlForbids) {
  for (const int errnum : {EPERM, ENOSYS}) {
    auto facts = refused_with(errnum);
    facts.filtered = true;
    const Finding finding = io_uring_finding(facts);
    EXPECT_EQ(finding.status, CheckStatus::fail);
    EXPECT_TRUE(finding.finding.contains("seccomp filter")) << finding.finding;
    EXPECT_TRUE(finding.advice.contains("io_uring_enter")) << finding.advice;
  }
  EXPECT_FALSE(io_uring_finding(refused_with(EPERM)).finding.contains("seccomp"));
  EXPECT_TRUE(io_uring_finding(refused_with(ENOSYS)).finding.contains("built without"));
}

TEST(DriverAdvice, SaysWhereTheDriverIsToBeHad) {
  using control::Installed;
  EXPECT_TRUE(control::load_advice(Installed::module, "7.3.4", {}).contains("modprobe"));
  EXPECT_TRUE(control::load_advice(Installed::no, "6.17.0-1020-aws", "... (Ubuntu 13.3.0) ...")
                  .contains("linux-modules-extra-6.17.0-1020-aws"));
  EXPECT_TRUE(
      control::load_advice(Installed::no, "6.12.1+deb13-cloud-amd64", "... Debian 6.12.1-1 ")
          .contains("linux-image-amd64"));
  EXPECT_TRUE(control::load_advice(Installed::no, "6.1.0", {}).contains("Linux 6.5 or later"));
}

TEST(DeviceLimit, CountsAreInTheText) {
  const control::DeviceLimit limit{.max = 4, .devices = 5, .unprivileged = 3, .unknown = 1};
  EXPECT_TRUE(limit.may_be_reached());
  EXPECT_FALSE(limit.reached());
  EXPECT_EQ(
      limit.text(),
      "ublks_max is 4, and 5 device(s) exist, 3 of them unprivileged, 1 that this user may not "
      "ask about; before Linux 6.15 all of them count");
}

}  // namespace
}  // namespace ublkbench
