// SPDX-License-Identifier: MIT
#include "bench/load/thread_usage.hpp"

#include <linux/perf_event.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace ublkbench::load {
namespace {

Fd open_instruction_counter() {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_HARDWARE;
  attributes.size = sizeof attributes;
  attributes.config = PERF_COUNT_HW_INSTRUCTIONS;
  const long fd = ::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
  return Fd(static_cast<int>(fd));
}

std::optional<std::uint64_t> read_counter(const Fd& counter) {
  std::uint64_t value = 0;
  if (!counter.valid() || ::read(counter.get(), &value, sizeof value) != sizeof value) return {};
  return value;
}

}  // namespace

ThreadMeter::ThreadMeter() : instructions_(open_instruction_counter()) {}

ThreadUsage ThreadMeter::read() const {
  timespec cpu{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return {.cpu_ns = static_cast<std::uint64_t>(cpu.tv_sec) * 1'000'000'000ULL +
                    static_cast<std::uint64_t>(cpu.tv_nsec),
          .voluntary_switches = static_cast<std::uint64_t>(usage.ru_nvcsw),
          .involuntary_switches = static_cast<std::uint64_t>(usage.ru_nivcsw),
          .instructions = read_counter(instructions_)};
}

}  // namespace ublkbench::load
