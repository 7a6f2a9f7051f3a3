// SPDX-License-Identifier: MIT
#include "bench/record/environment.hpp"
#include "bench/base/json_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/record/block_queue.hpp"
#include "bench/record/tool_identity.hpp"
#include "bench/record/write_fields.hpp"
#include "tests/unit/temporary_folder.hpp"

namespace ublkbench {
namespace {

using namespace std::string_literals;

void write_machine(const TemporaryFolder& machine) {
  machine.write("proc/sys/kernel/osrelease", "7.3.4-test\n");
  machine.write("proc/sys/kernel/version", "#1 SMP\n");
  machine.write("proc/cmdline",
                "BOOT_IMAGE=/vmlinuz root=LABEL=x ro quiet mitigations=off nokaslr\n");
  machine.write(
      "proc/cpuinfo",
      "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 49\nmodel name\t: EPYC\n"
      "cpu MHz\t\t: 2250.0\nbogomips\t: 4500.00\nflags\t\t: fpu erms rep_good hypervisor\n");
  machine.write("proc/meminfo", "MemTotal:        4028032 kB\nMemAvailable:   1000 kB\n");
  machine.write("proc/loadavg", "0.10 0.20 0.30 1/100 1234\n");
  machine.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
  machine.write("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n");
  machine.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2250000\n");
  machine.write("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n");
  machine.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
  machine.write("sys/kernel/debug/sched/preempt", "none voluntary (full) lazy \n");
  machine.write("dev/ublkb0", "");
  machine.write("sys/class/block/ublkb0/queue/scheduler", "none [mq-deadline] bfq\n");
  machine.write("sys/class/block/ublkb0/queue/nomerges", "2\n");
  machine.write("sys/class/block/ublkb0/mq/0/nr_tags", "128\n");
  machine.write("sys/class/block/ublkb0/mq/1/nr_tags", "128\n");
}

TEST(Environment, KeyFieldsComeFromTheMachine) {
  const TemporaryFolder machine;
  write_machine(machine);
  const auto fields = to_json(capture_environment(machine.path())).at("key_fields");
  EXPECT_EQ(fields["kernel"]["release"], "7.3.4-test");
  EXPECT_EQ(fields["kernel"]["cmdline"], "mitigations=off nokaslr");
  EXPECT_EQ(fields["kernel"]["preempt"], "full");
  EXPECT_TRUE(fields["kernel"]["build_id"].is_null());
  EXPECT_EQ(fields["cpu"]["vendor_id"], "AuthenticAMD");
  EXPECT_EQ(fields["cpu"]["model"], "49");
  EXPECT_EQ(fields["cpu"]["copy_flags"]["erms"], true);
  EXPECT_EQ(fields["cpu"]["copy_flags"]["fsrm"], false);
  EXPECT_EQ(fields["cpu"]["governor"], "performance powersave");
  EXPECT_EQ(fields["vulnerabilities"]["meltdown"], "Not affected");
  EXPECT_EQ(fields["clocksource"], "tsc");
  EXPECT_EQ(fields["build"]["compiler"], tool_identity().compiler);
}

TEST(Environment, KeyIgnoresWhatIsMeasured) {
  const TemporaryFolder machine;
  write_machine(machine);
  const Environment before = capture_environment(machine.path());
  machine.write(
      "proc/cpuinfo",
      "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 49\nmodel name\t: EPYC\n"
      "cpu MHz\t\t: 3100.0\nbogomips\t: 6200.00\nflags\t\t: fpu erms rep_good hypervisor\n");
  machine.write("proc/loadavg", "9.00 9.00 9.00 1/100 1234\n");
  machine.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3100000\n");
  machine.write("proc/cmdline", "BOOT_IMAGE=/other root=LABEL=y rw mitigations=off nokaslr\n");
  const Environment after = capture_environment(machine.path());
  EXPECT_EQ(before.key, after.key) << to_json(before.key_fields) << to_json(after.key_fields);
  EXPECT_NE(before.noted.load_average, after.noted.load_average);
  EXPECT_NE(before.noted.frequency_khz, after.noted.frequency_khz);
}

TEST(Environment, KeyChangesWithTheKernel) {
  const TemporaryFolder machine;
  write_machine(machine);
  const std::string key = capture_environment(machine.path()).key;
  EXPECT_EQ(capture_environment(machine.path()).key, key);
  machine.write("proc/sys/kernel/osrelease", "7.3.5-test\n");
  EXPECT_NE(capture_environment(machine.path()).key, key);
}

TEST(Environment, KeyIsTheSameEverywhere) {
  // FNV-1a: written down so that a change of the hash is seen as one.
  EXPECT_EQ(environment_key(R"({"a":1})"), "9c3e82dd6fcae8b1");
  EXPECT_EQ(environment_key("null").size(), 16U);
}

TEST(Environment, VirtualMachineIsSeenWithoutBeingTold) {
  const TemporaryFolder machine;
  write_machine(machine);
  ::unsetenv("UBLKBENCH_ACCEL");
  const auto accelerator = [&] {
    return capture_environment(machine.path()).key_fields.machine.accelerator;
  };
  EXPECT_EQ(accelerator(), "unknown hypervisor");
  machine.write("proc/cpuinfo", "processor : 0\nflags : fpu\n");
  EXPECT_EQ(accelerator(), "none");
  ::setenv("UBLKBENCH_ACCEL", "tcg", 1);
  EXPECT_EQ(accelerator(), "tcg");
  ::unsetenv("UBLKBENCH_ACCEL");
}

TEST(Environment, EmptyMachineGivesNullsNotFailures) {
  const TemporaryFolder machine;
  const auto environment = to_json(capture_environment(machine.path()));
  EXPECT_TRUE(environment["key_fields"]["kernel"].at("release").is_null());
  EXPECT_TRUE(environment["key_fields"]["cpu"].at("boost").is_null());
  EXPECT_FALSE(environment["key_fields"]["cpu"].contains("vendor_id"));
  EXPECT_EQ(environment["key_fields"]["ublk_driver"]["loaded"], false);
}

TEST(Environment, ThisMachineHasAKernelAndACpu) {
  const Environment environment = capture_environment();
  EXPECT_TRUE(environment.key_fields.kernel.release);
  EXPECT_GT(environment.noted.memory_total_bytes, 1 << 20);
  EXPECT_EQ(environment.key, environment_key(json_text(to_json(environment.key_fields))));
}

TEST(QueueLimits, PartitionGivesItsDisksLimits) {
  const TemporaryFolder machine;
  machine.write("dev/nvme0n1p1", "");
  machine.write("sys/devices/nvme0n1/queue/nr_requests", "255\n");
  machine.write("sys/devices/nvme0n1/nvme0n1p1/partition", "1\n");
  std::filesystem::create_directories(machine.path("sys/class/block"));
  for (const char* name : {"nvme0n1", "nvme0n1/nvme0n1p1"})
    std::filesystem::create_directory_symlink(
        "../../devices/"s + name,
        machine.path("sys/class/block/") + std::filesystem::path(name).filename().string());
  EXPECT_THAT(queue_limits("/dev/nvme0n1p1", machine.path()).text,
              testing::HasSubstr(R"("nr_requests":255)"));
}

TEST(BuildId, IsFoundBehindOtherNotes) {
  const auto note = [](std::string name, std::string descriptor, char type) {
    const auto word = [](std::size_t value) {
      return std::string{static_cast<char>(value), 0, 0, 0};
    };
    std::string bytes =
        word(name.size()) + word(descriptor.size()) + word(static_cast<std::size_t>(type));
    name.resize((name.size() + 3) & ~std::size_t{3});
    descriptor.resize((descriptor.size() + 3) & ~std::size_t{3});
    return bytes + name + descriptor;
  };
  const std::string linux_note = note("Linux\0"s, "12345", 3);
  const std::string gnu = note("GNU\0"s, "\xab\x01\xff\x10"s, 3);
  EXPECT_EQ(build_id_of_notes(linux_note + gnu), "ab01ff10");
  EXPECT_EQ(build_id_of_notes(linux_note), "");
  EXPECT_EQ(build_id_of_notes(gnu.substr(0, gnu.size() - 2)), "");
  EXPECT_EQ(build_id_of_notes(""), "");
}

TEST(ToolIdentity, SaysWhatItWasBuiltFrom) {
  const auto tool = to_json(tool_identity());
  EXPECT_FALSE(tool["version"].get<std::string>().empty());
  EXPECT_TRUE(tool["commit"] == "unknown" || tool["commit"].get<std::string>().size() == 40);
  EXPECT_EQ(tool["dirty"].is_null(), tool["commit"] == "unknown");
  EXPECT_TRUE(tool["compiler"].get<std::string>().starts_with("GNU") ||
              tool["compiler"].get<std::string>().starts_with("Clang"));
}

}  // namespace
}  // namespace ublkbench
