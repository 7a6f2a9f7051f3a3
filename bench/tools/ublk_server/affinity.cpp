// SPDX-License-Identifier: MIT
#include "bench/tools/ublk_server/affinity.hpp"

#include <sched.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "bench/base/first_line.hpp"
#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/control/control.hpp"
#include "bench/control/holders.hpp"
#include "bench/tools/options/server_cli.hpp"

namespace ublkbench {
namespace {

std::optional<unsigned> number_after(std::string_view text, std::string_view prefix) {
  unsigned number = 0;
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc{})
    return std::nullopt;
  return number;
}

/// A daemon, and with placement offload the worker that does its I/O.
struct Tasks {
  pid_t daemon = 0;
  pid_t worker = 0;
};

/// Tasks by the number of the daemon: server processes name their threads so.
std::map<unsigned, Tasks> daemons_of(pid_t server) {
  std::map<unsigned, Tasks> daemons;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(formatted("/proc/{}/task", server), error)) {
    const std::string name = first_line(entry.path() / "comm");
    const auto task = number_after(entry.path().filename().string(), "");
    if (!task) continue;
    if (const auto index = number_after(name, "ublk-d"))
      daemons[*index].daemon = static_cast<pid_t>(*task);
    if (const auto index = number_after(name, "ublk-w"))
      daemons[*index].worker = static_cast<pid_t>(*task);
  }
  return daemons;
}

std::vector<int> all_cpus() {
  std::vector<int> cpus(static_cast<std::size_t>(::sysconf(_SC_NPROCESSORS_CONF)));
  for (std::size_t cpu = 0; cpu < cpus.size(); ++cpu) cpus[cpu] = static_cast<int>(cpu);
  return cpus;
}

Result<std::vector<int>> cpus_for(const ServeOptions& placing, const ublksrv_ctrl_dev_info& device,
                                  unsigned daemon, std::size_t daemons) {
  if (placing.pinning == Pinning::list)
    return std::vector{placing.cpus[daemon % placing.cpus.size()]};
  if (placing.pinning == Pinning::queue && daemons == device.nr_hw_queues)
    return control::queue_affinity(static_cast<int>(device.dev_id), static_cast<int>(daemon));
  return all_cpus();
}

Result<> move(const std::string& what, pid_t task, const std::string& cpus_in_words,
              const cpu_set_t& set) {
  if (::sched_setaffinity(task, sizeof(set), &set) != 0)
    return std::unexpected(failed("move", formatted("{} to CPU {}", what, cpus_in_words), errno,
                                  "no such CPU, or it is not ours to use")
                               .error()
                               .with_exit(ExitCode::usage));
  print_line("{} (task {}): CPU {}", what, task, cpus_in_words);
  return {};
}

std::string words(const std::vector<int>& cpus) {
  std::string text;
  for (const int cpu : cpus) text += formatted("{}{}", text.empty() ? "" : ",", cpu);
  return text;
}

}  // namespace

Result<> set_affinity(int id, const std::string& cpus) {
  ServeOptions placing;
  if (auto parsed = parse_pinning(cpus, placing); !parsed) return parsed;
  const auto device = control::info(id);
  if (!device) return std::unexpected(device.error());
  const auto server = control::server_process(*device);
  const auto daemons = server.found() ? daemons_of(server.pid()) : std::map<unsigned, Tasks>{};
  if (daemons.empty())
    return bad_input(formatted("device {} has no daemons of ublk-server", id),
                     "its server: " + server.text());
  for (const auto& [index, tasks] : daemons) {
    const auto list = cpus_for(placing, *device, index, daemons.size());
    if (!list) return std::unexpected(list.error());
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int cpu : *list) CPU_SET(cpu, &set);
    for (const auto& [kind, task] : {std::pair{"daemon", tasks.daemon}, {"worker", tasks.worker}}) {
      if (task == 0) continue;  // 0 would be ourselves
      if (auto moved = move(formatted("{} {}", kind, index), task, words(*list), set); !moved)
        return moved;
    }
  }
  return {};
}

}  // namespace ublkbench
