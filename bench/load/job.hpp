// SPDX-License-Identifier: MIT
// One thread of the load with its ring, its buffers and its figures: everything that is not the hot
// path, which is in job_loop.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "bench/load/buffers.hpp"
#include "bench/load/device.hpp"
#include "bench/load/offsets.hpp"
#include "bench/load/options.hpp"
#include "bench/load/report.hpp"
#include "bench/load/thread_usage.hpp"
#include "bench/load/window.hpp"
#include "bench/ring/ring.hpp"

namespace ublkbench::load {

/// What all jobs of a run share; outlives a job whose thread could not be joined.
struct RunContext {
  RunContext(const LoadOptions& load_options, Device&& opened, WindowObserver observer)
      : options(load_options),
        device(std::move(opened)),
        window(options.ios, options.jobs, std::move(observer)) {}

  LoadOptions options;
  Device device;
  Window window;
  std::atomic<std::uint64_t> errors{0};
  std::atomic<bool> too_many_errors{false};
};

class Job {
 public:
  /// The job for the options' pattern and clock reads.
  static std::unique_ptr<Job> create(std::shared_ptr<RunContext> run, unsigned index);

  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  Job(Job&&) = delete;
  Job& operator=(Job&&) = delete;
  virtual ~Job() = default;

  /// Makes the ring and its resources; must be called by the thread that will run().
  Result<> set_up();
  /// Warm-up, window and drain.
  void run();

  /// Rises whenever the job gets on with its work; for the supervisor.
  [[nodiscard]] std::uint64_t heartbeat() const {
    return heartbeat_.load(std::memory_order_relaxed);
  }

  // For the supervisor after the job's thread has ended.
  /// Adds this job's figures to the report of the run.
  void add_to(LoadReport& report, Counts& counts) const;
  /// I/Os still in the kernel's hands; their age is `quiet_ns` unless their start is known.
  [[nodiscard]] std::vector<StuckIo> outstanding(std::uint64_t quiet_ns) const;
  /// Keeps ring and buffers alive until the process ends, because the kernel still uses them.
  void leak_kernel_memory();
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }

 protected:
  Job(std::shared_ptr<RunContext> run, unsigned index);

  [[nodiscard]] const LoadOptions& options() const { return run_->options; }
  [[nodiscard]] Range job_range() const;
  [[nodiscard]] unsigned in_flight() const { return options().depth - free_count_; }

  // The four verbs of the hot path, each implemented once in job_loop.hpp.
  virtual void prepare() = 0;          ///< before the first cycle: clocks, first due time
  virtual void cycle() = 0;            ///< one enter, nothing measured
  virtual void measured_cycles() = 0;  ///< until the window is over
  virtual void drain_cycle() = 0;      ///< one enter without new I/O

  /// io_uring_enter() said no: transient reasons are left to the next cycle, others end the run.
  void enter_failed(int ret);
  /// A completion that is not exactly block_bytes. True when it counts as done (a short one).
  bool odd_completion(std::uint32_t slot, std::int32_t result, bool counted);

  std::shared_ptr<RunContext> run_;
  Window& window_;
  Window::Cursor cursor_;
  unsigned index_;
  Random random_;
  std::optional<Ring> ring_;
  std::optional<Buffers> buffers_;

  std::vector<io_uring_sqe>
      templates_;  // per slot: the SQE, but for offset (and opcode when mixed)
  std::vector<std::uint64_t> start_ns_;  // per slot, where clocks are read
  std::vector<std::uint32_t> free_;      // a stack: the slot used last is the warmest in the cache
  unsigned free_count_ = 0;

  std::uint64_t completed_ = 0;  // all completions of this job, for warm-up and heartbeat
  std::atomic<std::uint64_t> heartbeat_{0};

  // Inside the window.
  std::uint64_t claimed_ = 0;
  std::uint64_t claimed_writes_ = 0;
  std::uint64_t enters_ = 0;
  std::vector<std::uint64_t> submit_counts_;    // by number of SQEs
  std::vector<std::uint64_t> complete_counts_;  // by number of CQEs
  Histogram read_latency_ns_;
  Histogram write_latency_ns_;

 private:
  Result<> create_ring();
  Result<> pin_to_cpu() const;
  void fill_templates();
  void warm_up();
  void drain();

  ThreadUsage usage_;
  std::uint64_t warmup_completions_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t measured_errors_ = 0;
  std::uint64_t measured_error_writes_ = 0;
  std::uint64_t short_ios_ = 0;
  std::uint64_t missing_bytes_ = 0;  // of short I/Os inside the window
  std::optional<IoError> first_error_;
  std::optional<Error> failure_;
};

}  // namespace ublkbench::load
