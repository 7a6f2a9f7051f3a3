// SPDX-License-Identifier: MIT
#include "probes/probes.hpp"

namespace ublkbench::probes {

const std::vector<ProbeKind>& probe_kinds() {
  static const std::vector<ProbeKind> kinds = {
      {"batch", "How many io commands are fetched and committed at once?", attach_batch},
      {"latency", "Where does the time of each request go, stage by stage?", attach_latency},
      {"wakeups", "How often do the server's tasks sleep, who wakes them, how long do they wait?",
       attach_wakeups},
      {"syscalls", "How many system calls does an I/O take, and how long are its io commands?",
       attach_syscalls},
      {"interrupts", "How many requests does each interrupt of a disk complete, by vector?",
       attach_interrupts},
      {"tags", "Do clients wait for tags? How full are the queues?", attach_tags},
      {"zc", "Which buffers are registered and released, by whom?", attach_zc},
      {"errors", "What fails, is requeued, cancelled, or runs out of time?", attach_errors},
  };
  return kinds;
}

}  // namespace ublkbench::probes
