// SPDX-License-Identifier: MIT
// What a daemon counts. The block lives in memory shared with the supervisor and the load, which
// read it while the daemon runs; there is one writer, so plain loads and relaxed stores suffice.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "bench/base/counter.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

/// How many events had each size; sizes above the largest exact one share the last slot. 4096 is
/// the deepest queue, so a batch of one queue is always exact.
struct BatchSizes {
  static constexpr unsigned largest = 4096;
  std::array<Counter, largest + 1> events;

  void record(unsigned size) { events[size < largest ? size : largest].add(1); }
};

/// Names as in the driver: a fetch delivers io commands to the server, a commit gives them back.
struct alignas(4096) DaemonCounters {
  Counter fetched_ios;         ///< io commands delivered
  Counter committed_ios;       ///< results handed to the driver
  Counter enters;              ///< io_uring_enter() calls
  Counter registered_by_hand;  ///< REGISTER_IO_BUF: mode zc, or a fallback of auto registration
  Counter failed_ios;          ///< committed with a negative result
  Counter fetch_rearmed;       ///< FETCH_IO_CMDS ended (-ENOBUFS, CQ overflow) and was issued again
  Counter shared_memory_hits;  ///< reads and writes in shared memory (UBLK_IO_F_SHMEM_ZC)
  Counter shared_memory_misses;  ///< those that were copied
  Counter wakes;                 ///< times this task woke another (placement offload)
  TargetCounters target;
  std::atomic<std::int32_t> task_id = 0;  ///< Linux tid of the daemon, 0 before it runs
  /// Per-I/O delivery: io commands seen per io_uring_enter(). Batch: tags per FETCH_IO_CMDS CQE.
  BatchSizes fetch_batch;
  /// Per-I/O delivery: COMMIT_AND_FETCH commands per io_uring_enter(). Batch: elements per
  /// COMMIT_IO_CMDS.
  BatchSizes commit_batch;
};

}  // namespace ublkbench
