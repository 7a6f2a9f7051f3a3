// SPDX-License-Identifier: MIT
#include "bench/suite/preconditions.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "bench/base/cpus.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/process/program.hpp"
#include "bench/server/daemon.hpp"
#include "bench/suite/hang_dump.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t list_limit_ns = 30'000'000'000;

Result<> check_probes(const RunOptions& options) {
  if (options.probes.empty()) return {};
  if (!options.device.empty() && ublk_number(options.device) < 0)
    return bad_input("--probe with --device " + options.device, "the probes are for ublk devices");
  const std::string program = process::find_program("ublk-probe");
  if (program.empty())
    return unsupported("--probe: ublk-probe is neither beside this program nor in $PATH",
                       "build it");
  const auto listed = process::run_program({program, "--list"}, list_limit_ns);
  if (!listed) return std::unexpected(listed.error());
  std::vector<std::string> known;
  std::istringstream lines(listed->out);
  for (std::string line; std::getline(lines, line);)
    known.push_back(line.substr(0, line.find(' ')));
  return check_probe_names(options.probes, known);
}

Result<> check_queues(const RunOptions& options) {
  const unsigned cpus = possible_cpus();
  if (!options.device.empty() || options.server.queues <= cpus) return {};
  // ublk_ctrl_add_dev() takes the smaller number without a word.
  return unsupported(formatted("{} queues: the driver gives at most one per CPU, and this "
                               "machine has {}",
                               options.server.queues, cpus),
                     "use fewer --queues");
}

/// A target as the load will see it, once it is a disk.
Result<load::DeviceFacts> facts_of_target(const RunOptions& options, const std::string& spec) {
  const auto target = make_target(spec, look_only);
  if (!target) return std::unexpected(target.error());
  const DeviceShape shape = (*target)->shape();
  return load::DeviceFacts{.path = "target " + spec,
                           .is_block = true,
                           .bytes = shape.bytes,
                           .logical_block_bytes = 1U << shape.logical_block_shift,
                           .max_hw_bytes = options.server.max_io_bytes};
}

Result<load::DeviceFacts> facts_of_device(const RunOptions& options, const std::string& path) {
  auto device = load::open_device(path, load::Access::read, options.load.direct);
  if (device) return device->facts;
  const bool missing = device.error().errnum == ENOENT;
  return std::unexpected(missing ? device.error().with_exit(ExitCode::usage) : device.error());
}

/// Each load against the device's limits; of a null_blk device they are met.
Result<> check_loads(const RunOptions& options, const Plan& plan) {
  std::map<std::string, load::DeviceFacts> known;
  for (const Cell& cell : plan.cells) {
    if (cell.kind == Cell::Kind::control && cell.target == "null_blk") continue;
    const auto [found, is_new] = known.try_emplace(cell.target);
    if (is_new) {
      auto facts = cell.kind == Cell::Kind::ublk ? facts_of_target(options, cell.target)
                                                 : facts_of_device(options, cell.target);
      if (!facts) return std::unexpected(facts.error());
      found->second = std::move(*facts);
    }
    if (cell.kind == Cell::Kind::ublk && options.load.hipri)
      // ublk_drv.c has queue_rq() and no poll().
      return unsupported(
          "--hipri: a ublk device has no poll queues",
          "polled I/O would fail with EOPNOTSUPP; --mode iopoll polls for the target");
    const load::LoadOptions load = load_options(options, cell, cell.target);
    if (auto valid = load::validate(load, found->second); !valid) return valid;
  }
  return {};
}

/// A number of a file of one; nothing where it says "max" or is not there.
std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  return file >> number ? std::optional(number) : std::nullopt;
}

/// This process's group in cgroup v2, "/" for the root.
std::string cgroup_of_process(const std::string& root) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("0::")) return line.substr(3);
  return "/";
}

/// What one group may still have; what its files have cached can be dropped.
std::optional<std::uint64_t> left_in_group(const std::string& folder) {
  const auto most = number_in(folder + "/memory.max");
  const auto used = number_in(folder + "/memory.current");
  if (!most || !used) return std::nullopt;
  std::uint64_t cached = 0;
  std::ifstream stat(folder + "/memory.stat");
  std::string name;
  for (std::uint64_t bytes = 0; stat >> name >> bytes;)
    if (name == "active_file" || name == "inactive_file") cached += bytes;
  return *most - std::min(*most, *used - std::min(*used, cached));
}

std::string gigabytes(std::uint64_t bytes) {
  return formatted("{:.1f}G", static_cast<double>(bytes) / (1ULL << 30));
}

std::uint64_t bytes_of_targets(const std::string& spec) {
  const bool in_memory = spec.starts_with("mem:") || spec.starts_with("zoned:");
  if (!in_memory) return 0;
  const auto target = make_target(spec, look_only);
  return target ? (*target)->shape().bytes : 0;
}

Result<> check_memory(const RunOptions& options, const Plan& plan) {
  const std::uint64_t available = memory_available();
  for (const Cell& cell : plan.cells) {
    const std::uint64_t target = cell.kind == Cell::Kind::ublk ? bytes_of_targets(cell.target) : 0;
    const std::uint64_t needed = memory_needed(options, cell, target);
    if (needed <= available) continue;
    return unsupported(
        formatted("'{}' fills {} of memory, {} of it for its target, and {} can be had",
                  cell.name(), gigabytes(needed), gigabytes(target), gigabytes(available)),
        target != 0 ? "use a smaller target, or a file (loop:PATH)"
                    : "use a smaller --bs, --qd or --jobs");
  }
  return {};
}

/// Rings, character device and what the target opens, for the largest number of tasks.
Result<> check_files(const RunOptions& options, const Plan& plan) {
  constexpr std::uint64_t of_program = 32;
  constexpr std::uint64_t of_task = 3;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  std::uint64_t tasks = 0;
  for (const Cell& cell : plan.cells)
    if (cell.kind == Cell::Kind::ublk)
      tasks = std::max<std::uint64_t>(tasks, serve_options(options, cell).task_count());
  const std::uint64_t needed =
      of_program + std::max(of_task * tasks, std::uint64_t{options.load.jobs} + tasks);
  if (needed <= limit.rlim_cur) return {};
  return unsupported(
      formatted("open-file limit of {}; {} server thread(s) and {} job(s) need about {}",
                static_cast<std::uint64_t>(limit.rlim_cur), tasks, options.load.jobs, needed),
      "raise it (ulimit -n)");
}

}  // namespace

Result<> check_probe_names(const std::string& probes, const std::vector<std::string>& known) {
  std::string names;
  for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
  for (const std::string& name : split(probes, ','))
    if (!std::ranges::contains(known, name))
      return bad_input(formatted("--probe: unknown probe '{}'", name), "there are " + names);
  return {};
}

std::uint64_t memory_needed(const RunOptions& options, const Cell& cell,
                            std::uint64_t target_bytes) {
  const std::uint64_t load = std::uint64_t{options.load.jobs} * cell.depth * cell.block_bytes;
  if (cell.kind != Cell::Kind::ublk) return load;
  if (cell.mode.buffers().shared)
    return target_bytes + serve_options(options, cell).shared_memory_bytes;
  // A tag's buffer is filled as far as I/Os are long.
  const std::uint64_t tags = std::uint64_t{options.server.queues} * cell.depth;
  const std::uint64_t server =
      data_place(cell.mode) == Data::Place::memory ? std::min(load, tags * cell.block_bytes) : 0;
  return target_bytes + load + server;
}

std::uint64_t memory_available(const std::string& root) {
  std::uint64_t available = UINT64_MAX;
  std::ifstream meminfo(root + "/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);)
    if (line.starts_with("MemAvailable:"))
      available = std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10) * 1024;
  // Each group above may be the narrowest (Documentation/admin-guide/cgroup-v2.rst, memory.max).
  const std::filesystem::path top = root + "/sys/fs/cgroup";
  std::filesystem::path group = cgroup_of_process(root);
  for (bool more = true; more; group = group.parent_path()) {
    more = group.has_relative_path();
    if (const auto left = left_in_group(top / group.relative_path()))
      available = std::min(available, *left);
  }
  return available;
}

Result<> check_preconditions(const RunOptions& options, const Plan& plan) {
  if (auto checked = check_probes(options); !checked) return checked;
  if (auto checked = check_queues(options); !checked) return checked;
  if (auto checked = check_loads(options, plan); !checked) return checked;
  if (auto checked = check_memory(options, plan); !checked) return checked;
  return check_files(options, plan);
}

}  // namespace ublkbench
