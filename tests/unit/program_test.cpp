// SPDX-License-Identifier: MIT
#include "bench/process/program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "bench/suite/hang_dump.hpp"
#include "tests/unit/temporary_folder.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t long_ns = 60'000'000'000;
constexpr std::uint64_t second_ns = 1'000'000'000;

Result<process::ProgramOutput> shell(const std::string& script,
                                     std::uint64_t timeout_ns = long_ns) {
  return process::run_program({"/bin/sh", "-c", script}, timeout_ns);
}

TEST(Program, BothStreamsAndTheExitCode) {
  const auto output = shell("cat; echo one; echo two >&2; exit 3");
  ASSERT_TRUE(output) << output.error().message();
  EXPECT_EQ(output->out, "one\n");
  EXPECT_EQ(output->err, "two\n");
  EXPECT_EQ(output->exit_code, 3);
}

TEST(Program, MoreThanAPipeHoldsOnBothStreams) {
  const auto output = shell("head -c 300000 /dev/zero >&2; head -c 400000 /dev/zero");
  ASSERT_TRUE(output) << output.error().message();
  EXPECT_EQ(output->out.size(), 400'000U);
  EXPECT_EQ(output->err.size(), 300'000U);
}

TEST(Program, KilledBySignal) { EXPECT_EQ(shell("kill -TERM $$")->exit_code, 128 + 15); }

TEST(Program, IsKilledAtItsBound) {
  for (const char* script : {"sleep 1000", "exec >&- 2>&-; sleep 1000"}) {
    const auto output = shell(script, 300'000'000);
    ASSERT_FALSE(output);
    EXPECT_EQ(output.error().errnum, ETIMEDOUT);
    EXPECT_THAT(output.error().message(), HasSubstr("did not end within 300 ms"));
  }
}

TEST(Program, ThatIsNotThere) {
  const auto output = process::run_program({"/nosuch/program"}, long_ns);
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().message(), "run /nosuch/program; it cannot be executed");
}

TEST(Program, IsFoundInThePath) {
  EXPECT_THAT(process::find_program("sh"), HasSubstr("/sh"));
  EXPECT_EQ(process::find_program("no-program-has-this-name"), "");
}

TEST(HangDump, WithoutAnAnswerTheReasonIsSaid) {
  HangDumpOptions options{.program = "off"};
  EXPECT_TRUE(check_hang_dump(options));
  EXPECT_EQ(dump_hang(options, 0, second_ns).reason, "--hang-dump off");
  options.program = "/nosuch";
  ASSERT_FALSE(check_hang_dump(options));
  EXPECT_EQ(check_hang_dump(options).error().exit, ExitCode::usage);
  options.program = "/bin/true";
  EXPECT_EQ(dump_hang(options, 0, second_ns).reason, "/bin/true ended with 0");
}

/// An ublk-dump that says no more than this verdict.
std::string said(const TemporaryFolder& folder, const std::string& verdict) {
  const std::string path = folder.path("dump");
  folder.write("dump", "#!/bin/sh\necho '{\"verdict\": " + verdict + "}'\n");
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return dump_hang({.program = path, .prefix = folder.path("hang-")}, 4, second_ns)
      .verdict.value_or("");
}

TEST(HangDump, DoesNotSayNothingIsStuckOfAHang) {
  const TemporaryFolder folder;
  EXPECT_EQ(said(folder, R"({"state": "stuck", "line": "device 4: it hangs"})"),
            "device 4: it hangs");
  EXPECT_EQ(said(folder, R"({"state": "slow", "line": "nothing is stuck; something is slow: x"})"),
            "something is slow: x");
  const std::string none =
      said(folder, R"({"state": "nothing stuck", "line": "nothing is stuck"})");
  EXPECT_THAT(none, HasSubstr("no request of device 4 was stuck when it looked"));
  EXPECT_EQ(none.find("nothing is stuck"), std::string::npos);
}

TEST(HangDump, NumberOfADevice) {
  EXPECT_EQ(ublk_number("/dev/null"), -1);
  EXPECT_EQ(ublk_number("/nosuch"), -1);
  const TemporaryFolder folder;
  folder.write("ublkb17", "");
  EXPECT_EQ(ublk_number(folder.path("ublkb17")), 17);
}

}  // namespace
}  // namespace ublkbench
