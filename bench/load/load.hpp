// SPDX-License-Identifier: MIT
// The load generator. Drives any block device or file through io_uring; knows nothing of ublk.
//
// Latency, closed loop: an I/O begins at the clock read after the enter that preceded its
// submission and ends at the clock read after the enter that brought its completion: one read per
// io_uring_enter(), not two per I/O. So a value includes the bookkeeping of its own batch (tens of
// instructions per I/O of the batch), and with complete_batch > 1 the time for which it waited for
// the rest of the batch. Use complete_batch 1 to see single completions. As in every closed loop a
// slow device slows the load, which hides queueing: use rate_iops for what users would feel.
#pragma once

#include "bench/base/result.hpp"
#include "bench/load/options.hpp"
#include "bench/load/report.hpp"
#include "bench/load/window.hpp"

namespace ublkbench::load {

/// Runs the load in the calling thread's process and returns when all its I/O has ended, or was
/// given up (LoadReport::hang). Failed I/Os are part of the report; an Error means that no load
/// ran.
///
/// Uses SIGURG, from here to the return, to wake its own threads. After a hang the stuck rings and
/// their buffers are leaked on purpose, because the kernel may still write there: the caller should
/// get rid of the device (or of this process) next.
Result<LoadReport> run_load(const LoadOptions& options, WindowObserver observer = {});

}  // namespace ublkbench::load
