// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/base/cpus.hpp"
#include "bench/suite/estimate.hpp"
#include "bench/suite/foreign_device.hpp"
#include "bench/suite/preconditions.hpp"
#include "bench/suite/usage.hpp"
#include "temporary_folder.hpp"

namespace ublkbench {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t second_ns = 1'000'000'000;

RunOptions one_cell() {
  RunOptions options;
  options.modes = {*parse_mode("copy")};
  options.depths = {128};
  options.load.ios = 1000;
  options.repeat = 1;
  options.control = "none";
  return options;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TEST(Preconditions, ProbesAreKnownByName) {
  EXPECT_TRUE(check_probe_names("batch,latency", {"batch", "latency", "tags"}));
  const auto unknown = check_probe_names("batch,speed", {"batch", "latency"});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().exit, ExitCode::usage);
  EXPECT_THAT(unknown.error().message(), HasSubstr("'speed'; there are batch, latency"));
}

TEST(Preconditions, MoreQueuesThanCpusAreRefused) {
  RunOptions options = one_cell();
  options.server.queues = possible_cpus() + 1;
  const auto checked = check_preconditions(options, *make_plan(options));
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().message(), HasSubstr("the driver gives at most one per CPU"));
  options.server.queues = possible_cpus();
  EXPECT_TRUE(check_preconditions(options, *make_plan(options)));
}

TEST(Preconditions, MemoryOfTheTargetIsThereBefore) {
  RunOptions options = one_cell();
  options.targets = {"mem:1024G"};
  const auto checked = check_preconditions(options, *make_plan(options));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().exit, ExitCode::environment);
  EXPECT_THAT(checked.error().message(), HasSubstr("1024.0G of it for its target"));
  options.targets = {"mem:1M"};
  EXPECT_TRUE(check_preconditions(options, *make_plan(options)));
}

TEST(Preconditions, MemoryIsThatOfTargetLoadAndServer) {
  RunOptions options = one_cell();
  Cell cell{.mode = *parse_mode("copy"), .target = "mem:1M", .depth = 4, .block_bytes = 4096};
  options.load.jobs = 2;
  // Two jobs' buffers, and four tags' of one queue.
  EXPECT_EQ(memory_needed(options, cell, 1 << 20), (1U << 20) + 8 * 4096 + 4 * 4096);
  cell.mode = *parse_mode("auto_zc");
  EXPECT_EQ(memory_needed(options, cell, 1 << 20), (1U << 20) + 8 * 4096);
  cell.mode = *parse_mode("shmem_zc");
  EXPECT_EQ(memory_needed(options, cell, 0), 64U << 20);
  cell.kind = Cell::Kind::external;
  EXPECT_EQ(memory_needed(options, cell, 0), 8U * 4096);
}

TEST(Preconditions, MemoryThatCanBeHadIsTheLeastOfAllGroups) {
  const TemporaryFolder folder;
  const std::filesystem::path root = folder.path();
  write(root / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n");
  EXPECT_EQ(memory_available(root), 8000U * 1024);
  write(root / "proc/self/cgroup", "0::/above/below\n");
  write(root / "sys/fs/cgroup/above/memory.max", "1000000\n");
  write(root / "sys/fs/cgroup/above/memory.current", "600000\n");
  write(root / "sys/fs/cgroup/above/below/memory.max", "max\n");
  write(root / "sys/fs/cgroup/above/below/memory.current", "500000\n");
  EXPECT_EQ(memory_available(root), 400000U);
  write(root / "sys/fs/cgroup/above/memory.stat", "anon 7\ninactive_file 50000\nactive_file 1\n");
  EXPECT_EQ(memory_available(root), 450001U);
}

TEST(Preconditions, CpusThatAreNotThereAreNamed) {
  EXPECT_TRUE(check_cpus({}, "--load-cpus"));
  const auto checked = check_cpus({8000}, "--load-cpus");
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().exit, ExitCode::usage);
  EXPECT_THAT(checked.error().message(),
              HasSubstr("CPU 8000 of --load-cpus: this machine has no such CPU"));
}

TEST(Preconditions, PolledCompletionsAreNothingForOurDevices) {
  RunOptions options = one_cell();
  options.load.hipri = true;
  const auto checked = check_preconditions(options, *make_plan(options));
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().message(), HasSubstr("a ublk device has no poll queues"));
}

TEST(Estimate, KnowsTheWarmUp) {
  RunOptions options = one_cell();
  options.load.ios = 3;
  options.load.rate_iops = 1;
  options.load.warmup_ios = 2000;
  EXPECT_EQ(in_words(estimate_of(options, *make_plan(options))), "about 34 min");
  options.load.warmup_ios = load::LoadOptions::default_warmup;
  EXPECT_EQ(in_words(estimate_of(options, *make_plan(options))), "about 6 s");
  options.load.rate_iops = 0;
  EXPECT_EQ(estimate_of(options, *make_plan(options)).bytes, 2003U * 4096);
  options.load.ios = 0;
  options.load.runtime_ns = 5 * second_ns;
  EXPECT_EQ(in_words(estimate_of(options, *make_plan(options))), "about 6 s");
}

TEST(Estimate, SaysMuchData) {
  RunOptions options = one_cell();
  options.block_bytes = {4 << 20};
  options.server.max_io_bytes = 4 << 20;
  EXPECT_THAT(in_words(estimate_of(options, *make_plan(options))),
              HasSubstr(", moving about 5 G of data"));
}

TEST(ForeignDevice, OnlyABlockDeviceIsOne) {
  const TemporaryFolder folder;
  const std::string file = std::filesystem::path(folder.path()) / "ublkb0";
  write(file, "data");
  for (const auto& [path, says] :
       {std::pair{file, "it is a regular file, no block device"},
        {std::string("/dev/null"), "it is something else, no block device"},
        {std::string("/nosuch"), "--device /nosuch: No such file or directory"}}) {
    const auto device = look_at_device(path);
    ASSERT_FALSE(device) << path;
    EXPECT_EQ(device.error().exit, ExitCode::usage);
    EXPECT_THAT(device.error().message(), HasSubstr(says));
  }
}

TEST(ForeignDevice, IdentityHasNoNumbersOfOneStart) {
  ForeignDevice device{.path = "/dev/ublkb0",
                       .queues = 2,
                       .ublk = ublksrv_ctrl_dev_info{},
                       .server = ForeignServer{.pid = 5, .name = "spdk", .devices = {0}}};
  device.ublk->queue_depth = 64;
  const ForeignIdentity before = device.identity();
  device.ublk->dev_id = 7;
  device.server->pid = 6;
  EXPECT_EQ(device.identity(), before);
  device.ublk->queue_depth = 32;
  EXPECT_NE(device.identity(), before);
  MeasuredDevice recorded;
  device.describe(recorded);
  EXPECT_EQ(recorded.server->name, "spdk");
  device.server.reset();
  device.describe(recorded);
  EXPECT_FALSE(recorded.server);
}

TEST(ProcessUsage, IsThatOfTheWholeProcessAndOfItsTasks) {
  const auto before = usage_of_process(::getpid());
  ASSERT_TRUE(before);
  std::thread([] {
    const auto until = std::clock() + CLOCKS_PER_SEC / 20;
    while (std::clock() < until) {
    }
  }).join();
  const auto after = usage_of_process(::getpid());
  ASSERT_TRUE(after);
  const ProcessUsage used = *after - *before;
  // Also of the thread that is gone, which is no task any more.
  EXPECT_GE(used.cpu_ns, 50'000'000U);
  EXPECT_EQ(used.tasks.size(), after->tasks.size());
  EXPECT_TRUE(std::ranges::contains(after->tasks, ::gettid(), &TaskUsage::task));
  constexpr pid_t above_all = 1 << 22;  // PID_MAX_LIMIT (include/linux/threads.h): nobody has it
  EXPECT_FALSE(usage_of_process(above_all));
}

}  // namespace
}  // namespace ublkbench
