// SPDX-License-Identifier: MIT
#include "bench/record/cpu_quota.hpp"

#include <filesystem>
#include <sstream>
#include <vector>

#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

/// A hierarchy that may hold quotas: where it is mounted, and where the process is in it.
struct Hierarchy {
  std::string mount;
  std::string root;  // of the mount, in the hierarchy: "/" but for bind mounts
  std::string group;
  bool v2 = true;
};

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream words(line);
  std::vector<std::string> list;
  for (std::string word; words >> word;) list.push_back(word);
  return list;
}

bool has_word(const std::string& list, std::string_view wanted) {
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');)
    if (word == wanted) return true;
  return false;
}

/// Fields of /proc/PID/mountinfo: "36 35 0:30 / /sys/fs/cgroup rw,... - cgroup2 cgroup2 rw".
void find_mount(const SystemFiles& files, Hierarchy& hierarchy) {
  std::istringstream lines(files.contents("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    const auto words = words_of(line);
    std::size_t dash = 6;
    while (dash < words.size() && words[dash] != "-") ++dash;
    if (dash + 3 >= words.size()) continue;
    const bool fits = hierarchy.v2
                          ? words[dash + 1] == "cgroup2"
                          : words[dash + 1] == "cgroup" && has_word(words[dash + 3], "cpu");
    if (!fits) continue;
    hierarchy.root = words[3];
    hierarchy.mount = words[4];
    return;
  }
}

/// Lines of /proc/PID/cgroup: "0::/system.slice/a.service", in v1 "4:cpu,cpuacct:/a".
std::vector<Hierarchy> hierarchies_of(pid_t process, const SystemFiles& files) {
  std::vector<Hierarchy> list;
  std::istringstream lines(files.contents(formatted("/proc/{}/cgroup", process)));
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    Hierarchy hierarchy{
        .mount = {}, .root = {}, .group = line.substr(second + 1), .v2 = controllers.empty()};
    if (!hierarchy.v2 && !has_word(controllers, "cpu")) continue;
    find_mount(files, hierarchy);
    if (!hierarchy.mount.empty()) list.push_back(std::move(hierarchy));
  }
  return list;
}

std::uint64_t counter(const std::string& stat, const std::string& name) {
  std::istringstream lines(stat);
  std::string key;
  for (std::uint64_t value = 0; lines >> key >> value;)
    if (key == name) return value;
  return 0;
}

/// Nothing where the group has no limit, or the controller is not there.
std::optional<CpuQuota> quota_in(const SystemFiles& files, const std::string& folder, bool v2) {
  std::istringstream limit(v2 ? files.contents(folder + "/cpu.max")
                              : files.contents(folder + "/cpu.cfs_quota_us") + ' ' +
                                    files.contents(folder + "/cpu.cfs_period_us"));
  double quota_us = 0;
  double period_us = 0;
  // "max" is no number, and v1's word for none is -1.
  if (!(limit >> quota_us >> period_us) || quota_us <= 0 || period_us <= 0) return std::nullopt;
  return with_counts({.group = folder, .cpus = quota_us / period_us},
                     files.contents(folder + "/cpu.stat"));
}

}  // namespace

CpuQuota with_counts(CpuQuota quota, const std::string& cpu_stat) {
  quota.periods = counter(cpu_stat, "nr_periods");
  quota.throttled_periods = counter(cpu_stat, "nr_throttled");
  // Microseconds in v2, in v1 under another name nanoseconds.
  quota.throttled_ns =
      counter(cpu_stat, "throttled_usec") * 1000 + counter(cpu_stat, "throttled_time");
  return quota;
}

std::optional<CpuQuota> cpu_quota_of(pid_t process, const SystemFiles& files) {
  std::optional<CpuQuota> lowest;
  for (const Hierarchy& hierarchy : hierarchies_of(process, files)) {
    // Relative to what is mounted; of a group beyond it ("/../x") nothing can be seen.
    auto below = std::filesystem::path(hierarchy.group)
                     .lexically_relative(hierarchy.root)
                     .lexically_normal();
    if (below.empty() || *below.begin() == "..") continue;
    for (auto folder = std::filesystem::path(hierarchy.mount) / below;;
         folder = folder.parent_path()) {
      const auto quota = quota_in(files, folder.lexically_normal().string(), hierarchy.v2);
      if (quota && (!lowest || quota->cpus < lowest->cpus)) lowest = quota;
      if (folder.string().size() <= hierarchy.mount.size()) break;
    }
  }
  return lowest;
}

CpuQuota operator-(const CpuQuota& later, const CpuQuota& earlier) {
  if (later.group != earlier.group) return later;
  CpuQuota between = later;
  subtract(between, earlier);
  return between;
}

}  // namespace ublkbench
