// SPDX-License-Identifier: MIT
#include "bench/suite/usage.hpp"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <format>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace ublkbench {
namespace {

SizeCounts counts_of(const BatchSizes& sizes) {
  SizeCounts counts;
  for (unsigned size = 0; size <= BatchSizes::largest; ++size)
    if (const std::uint64_t events = sizes.events[size].get(); events != 0) counts[size] = events;
  return counts;
}

void add(SizeCounts& sum, const SizeCounts& more) {
  for (const auto& [size, events] : more) sum[size] += events;
}

SizeCounts minus(const SizeCounts& later, const SizeCounts& earlier) {
  SizeCounts difference;
  for (const auto& [size, events] : later) {
    const auto before = earlier.find(size);
    const std::uint64_t rest = events - (before == earlier.end() ? 0 : before->second);
    if (rest != 0) difference[size] = rest;
  }
  return difference;
}

nlohmann::json pairs(const SizeCounts& counts) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [size, events] : counts) list.push_back({size, events});
  return list;
}

/// First field of schedstat: time on a CPU, in ns (kernel/sched/stats, Documentation/scheduler).
std::uint64_t cpu_ns_of(pid_t process, int task) {
  std::ifstream file(std::format("/proc/{}/task/{}/schedstat", process, task));
  std::uint64_t ns = 0;
  file >> ns;
  return ns;
}

void add_switches(pid_t process, int task, ServerUsage& usage) {
  std::ifstream file(std::format("/proc/{}/task/{}/status", process, task));
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

nlohmann::json ServerUsage::to_json() const {
  return {
      {"fetched_ios", fetched_ios},
      {"committed_ios", committed_ios},
      {"failed_ios", failed_ios},
      {"enters", enters},
      {"registered_by_hand", registered_by_hand},
      {"shared_memory_hits", shared_memory_hits},
      {"shared_memory_misses", shared_memory_misses},
      {"wakes", wakes},
      {"fetch_rearmed", fetch_rearmed},
      {"in_flight_ios", in_flight_ios},
      {"chained_send_ios", chained_send_ios},
      {"send_sqe_chain_busy", send_sqe_chain_busy},
      {"fetch_batch", {{"mean", mean_size(fetch_batch)}, {"size_events", pairs(fetch_batch)}}},
      {"commit_batch", {{"mean", mean_size(commit_batch)}, {"size_events", pairs(commit_batch)}}},
      {"cpu_ns", cpu_ns},
      {"voluntary_switches", voluntary_switches},
      {"involuntary_switches", involuntary_switches},
      {"instructions", instructions ? nlohmann::json(*instructions) : nlohmann::json()}};
}

ServerUsage operator-(const ServerUsage& later, const ServerUsage& earlier) {
  ServerUsage usage = later;
  usage.fetched_ios -= earlier.fetched_ios;
  usage.committed_ios -= earlier.committed_ios;
  usage.failed_ios -= earlier.failed_ios;
  usage.enters -= earlier.enters;
  usage.registered_by_hand -= earlier.registered_by_hand;
  usage.shared_memory_hits -= earlier.shared_memory_hits;
  usage.shared_memory_misses -= earlier.shared_memory_misses;
  usage.wakes -= earlier.wakes;
  usage.fetch_rearmed -= earlier.fetch_rearmed;
  usage.chained_send_ios -= earlier.chained_send_ios;
  usage.send_sqe_chain_busy -= earlier.send_sqe_chain_busy;
  usage.fetch_batch = minus(later.fetch_batch, earlier.fetch_batch);
  usage.commit_batch = minus(later.commit_batch, earlier.commit_batch);
  usage.cpu_ns -= earlier.cpu_ns;
  usage.voluntary_switches -= earlier.voluntary_switches;
  usage.involuntary_switches -= earlier.involuntary_switches;
  if (later.instructions && earlier.instructions)
    usage.instructions = *later.instructions - *earlier.instructions;
  return usage;
}

double mean_size(const SizeCounts& counts) {
  std::uint64_t events = 0;
  std::uint64_t total = 0;
  for (const auto& [size, count] : counts) {
    events += count;
    total += size * count;
  }
  return events == 0 ? 0 : static_cast<double>(total) / static_cast<double>(events);
}

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
    add(usage.fetch_batch, counts_of(daemon.fetch_batch));
    add(usage.commit_batch, counts_of(daemon.commit_batch));
    usage.cpu_ns += cpu_ns_of(process_, daemon.task_id);
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

std::optional<unsigned> icount_shift() {
  const char* const text = std::getenv("UBLKBENCH_ICOUNT_SHIFT");
  if (text == nullptr || *text == '\0') return std::nullopt;
  return static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

}  // namespace ublkbench
