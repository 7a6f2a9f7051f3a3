// SPDX-License-Identifier: MIT
#include "bench/suite/usage.hpp"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "bench/base/first_line.hpp"
#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

void add(const BatchSizes& sizes, SizeEvents& sum) {
  for (unsigned size = 0; size <= BatchSizes::largest; ++size)
    if (const std::uint64_t events = sizes.events[size].get(); events != 0) sum[size] += events;
}

/// First field of schedstat: time on a CPU, in ns (kernel/sched/stats, Documentation/scheduler).
std::uint64_t cpu_ns_of(pid_t process, int task) {
  std::ifstream file(formatted("/proc/{}/task/{}/schedstat", process, task));
  std::uint64_t ns = 0;
  file >> ns;
  return ns;
}

void add_switches(pid_t process, int task, ServerUsage& usage) {
  std::ifstream file(formatted("/proc/{}/task/{}/status", process, task));
  for (std::string line; std::getline(file, line);) {
    const auto value = [&line] {
      return std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10);
    };
    if (line.starts_with("voluntary_ctxt_switches")) usage.voluntary_switches += value();
    if (line.starts_with("nonvoluntary_ctxt_switches")) usage.involuntary_switches += value();
  }
}

Fd open_instruction_counter(int task) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = PERF_TYPE_HARDWARE;
  attributes.config = PERF_COUNT_HW_INSTRUCTIONS;
  return Fd(static_cast<int>(
      ::syscall(SYS_perf_event_open, &attributes, task, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

}  // namespace

ServerMeter::ServerMeter(pid_t process, std::span<const DaemonCounters> counters)
    : process_(process), counters_(counters) {
  for (const DaemonCounters& daemon : counters) {
    Fd counter = open_instruction_counter(daemon.task_id);
    if (!counter.valid()) {
      instruction_counters_.clear();
      return;
    }
    instruction_counters_.push_back(std::move(counter));
  }
}

ServerUsage ServerMeter::read() const {
  ServerUsage usage;
  for (const DaemonCounters& daemon : counters_) {
    usage.fetched_ios += daemon.fetched_ios.get();
    usage.committed_ios += daemon.committed_ios.get();
    usage.failed_ios += daemon.failed_ios.get();
    usage.enters += daemon.enters.get();
    usage.registered_by_hand += daemon.registered_by_hand.get();
    usage.shared_memory_hits += daemon.shared_memory_hits.get();
    usage.shared_memory_misses += daemon.shared_memory_misses.get();
    usage.wakes += daemon.wakes.get();
    usage.fetch_rearmed += daemon.fetch_rearmed.get();
    usage.in_flight_ios += daemon.target.in_flight_ios.get();
    usage.chained_send_ios += daemon.target.chained_send_ios.get();
    usage.send_sqe_chain_busy += daemon.target.send_sqe_chain_busy.get();
    add(daemon.fetch_batch, usage.fetch_batch.size_events);
    add(daemon.commit_batch, usage.commit_batch.size_events);
    usage.daemon_cpu_ns.push_back(cpu_ns_of(process_, daemon.task_id));
    usage.cpu_ns += usage.daemon_cpu_ns.back();
    add_switches(process_, daemon.task_id, usage);
  }
  if (instruction_counters_.empty()) return usage;
  usage.instructions = 0;
  for (const Fd& counter : instruction_counters_) {
    std::uint64_t value = 0;
    if (::read(counter.get(), &value, sizeof(value)) == sizeof(value)) *usage.instructions += value;
  }
  return usage;
}

std::optional<ProcessUsage> usage_of_process(pid_t process) {
  clockid_t clock{};
  timespec used{};
  // Of the thread group as a whole (kernel/time/posix-cpu-timers.c, thread_group_sample_cputime):
  // io-wq's workers belong to it, and what ended is counted.
  if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &used) != 0)
    return std::nullopt;
  ProcessUsage usage{.pid = process,
                     .name = first_line(formatted("/proc/{}/comm", process)),
                     .cpu_ns = static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000ULL +
                               static_cast<std::uint64_t>(used.tv_nsec),
                     .tasks = {},
                     .instructions = {}};
  std::error_code error;
  const std::string tasks = formatted("/proc/{}/task", process);
  for (const auto& entry : std::filesystem::directory_iterator(tasks, error)) {
    const int task = std::atoi(entry.path().filename().c_str());
    usage.tasks.push_back({.task = task,
                           .name = first_line(entry.path() / "comm"),
                           .cpu_ns = cpu_ns_of(process, task)});
  }
  std::ranges::sort(usage.tasks, {}, &TaskUsage::task);
  return usage;
}

std::optional<unsigned> icount_shift() {
  const char* const text = std::getenv("UBLKBENCH_ICOUNT_SHIFT");
  if (text == nullptr || *text == '\0') return std::nullopt;
  return static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

}  // namespace ublkbench
