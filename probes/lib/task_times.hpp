// SPDX-License-Identifier: MIT
// The names of tasks, and how long those of a process have run, by the scheduler's own count.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "bench/record/probe_document.hpp"

namespace ublkbench::probes {

struct TaskTime {
  std::string name;
  std::uint64_t on_cpu_ns = 0;  ///< since the task was made; of one that runs, up to its last tick
};

/// From BPF's copy of task_struct::comm.
probed::TaskName task_name(std::uint32_t tid, const char (&comm)[16]);

/// By tid; nothing of a process that is gone.
std::map<std::uint32_t, TaskTime> task_times(pid_t process);

}  // namespace ublkbench::probes
