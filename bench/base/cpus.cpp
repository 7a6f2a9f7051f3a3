// SPDX-License-Identifier: MIT
#include "bench/base/cpus.hpp"

#include <sched.h>
#include <unistd.h>

#include <string>

#include "bench/base/first_line.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench {
namespace {

std::string_view why_not(int cpu) {
  const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu);
  if (::access(folder.c_str(), F_OK) != 0) return "this machine has no such CPU";
  if (first_line(folder + "/online") == "0") return "it is offline";
  return "it is outside of this process's cpuset";
}

/// Puts the thread's CPUs back.
class Affinity {
 public:
  Affinity() { known_ = ::sched_getaffinity(0, sizeof(before_), &before_) == 0; }
  Affinity(const Affinity&) = delete;
  Affinity& operator=(const Affinity&) = delete;
  ~Affinity() {
    if (known_) ::sched_setaffinity(0, sizeof(before_), &before_);
  }

 private:
  cpu_set_t before_{};
  bool known_ = false;
};

}  // namespace

Result<std::vector<int>> parse_cpu_list(const std::string& text) {
  std::vector<int> cpus;
  for (const std::string& part : split(text, ',')) {
    const auto ends = split(part, '-');
    const auto first = parse_count(ends.empty() ? "" : ends.front());
    const auto last = parse_count(ends.empty() ? "" : ends.back());
    if (ends.size() > 2 || !first || !last || *first > *last || *last >= 8192)
      return bad_input(formatted("'{}' is not a CPU list", text), "for instance 0-3,7");
    for (std::uint64_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(static_cast<int>(cpu));
  }
  if (cpus.empty()) return bad_input("empty CPU list", "for instance 0-3,7");
  return cpus;
}

Result<> check_cpus(const std::vector<int>& cpus, std::string_view whose) {
  if (cpus.empty()) return {};
  const Affinity affinity;
  for (const int cpu : cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<unsigned>(cpu), &set);
    // Only the kernel knows: cgroups narrow what may be asked for.
    if (::sched_setaffinity(0, sizeof(set), &set) == 0) continue;
    return bad_input(formatted("CPU {} of {}: {}", cpu, whose, why_not(cpu)),
                     "online are " + first_line("/sys/devices/system/cpu/online"));
  }
  return {};
}

unsigned possible_cpus() {
  const auto cpus = parse_cpu_list(first_line("/sys/devices/system/cpu/possible"));
  return cpus ? static_cast<unsigned>(cpus->back()) + 1 : 1;
}

}  // namespace ublkbench
