// SPDX-License-Identifier: MIT
#include "probes/lib/task_times.hpp"

#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "bench/base/format.hpp"

namespace ublkbench::probes {

probed::TaskName task_name(std::uint32_t tid, const char (&comm)[16]) {
  return {.tid = tid, .name = std::string(comm, ::strnlen(comm, sizeof(comm)))};
}

std::map<std::uint32_t, TaskTime> task_times(pid_t process) {
  std::map<std::uint32_t, TaskTime> tasks;
  std::error_code gone;
  const auto folder = formatted("/proc/{}/task", process);
  for (auto entry = std::filesystem::directory_iterator(folder, gone);
       !gone && entry != std::filesystem::directory_iterator(); entry.increment(gone)) {
    const std::string name = entry->path().filename();
    std::uint32_t tid = 0;
    std::from_chars(name.data(), name.data() + name.size(), tid);
    // Its first field: Documentation/scheduler/sched-stats.rst.
    std::ifstream schedstat(entry->path() / "schedstat");
    TaskTime task;
    if (!(schedstat >> task.on_cpu_ns)) continue;
    std::getline(std::ifstream(entry->path() / "comm"), task.name);
    tasks.emplace(tid, std::move(task));
  }
  return tasks;
}

}  // namespace ublkbench::probes
