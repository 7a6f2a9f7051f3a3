// SPDX-License-Identifier: MIT
// What a run of the load found.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/record/distribution.hpp"
#include "bench/record/fields.hpp"

namespace ublkbench {

/// Why the run ended.
enum class Ending : std::uint8_t {
  completed,  ///< the work was done
  stopped,    ///< LoadOptions::stop was set
  errors,     ///< max_errors was reached
  hang        ///< I/Os stopped completing
};
constexpr auto names_of(Ending /*type*/) {
  return std::array<std::string_view, 4>{"completed", "stopped", "errors", "hang"};
}
enum class Operation : std::uint8_t { read, write };
constexpr auto names_of(Operation /*type*/) {
  return std::array<std::string_view, 2>{"read", "write"};
}
constexpr Operation operation_of(bool write) { return write ? Operation::write : Operation::read; }

/// One I/O of the load.
struct IoRef {
  unsigned job = 0;
  std::uint64_t offset = 0;  ///< in bytes
  Operation operation = Operation::read;

  static constexpr auto fields() {
    return std::tuple(required("job", &IoRef::job), required("offset_bytes", &IoRef::offset),
                      required("operation", &IoRef::operation));
  }
};

struct IoError : IoRef {
  int errnum = 0;  ///< 0: it was short

  /// "read at byte 8192 failed: Input/output error".
  [[nodiscard]] std::string message() const;

  static constexpr auto fields() {
    return std::tuple_cat(IoRef::fields(), std::tuple(required("errno", &IoError::errnum),
                                                      derived("message", &IoError::message)));
  }
};

struct StuckIo : IoRef {
  /// Since submission (or since it was due) when instants are known; without latency recording:
  /// since its job last saw a completion, which is a lower bound.
  std::uint64_t age_ns = 0;

  static constexpr auto fields() {
    return std::tuple_cat(IoRef::fields(), std::tuple(required("age_ns", &StuckIo::age_ns)));
  }
};

struct HangReport {
  std::uint64_t quiet_ns = 0;  ///< how long nothing had completed when the run was given up
  std::vector<StuckIo> outstanding;
  unsigned unreachable_jobs = 0;  ///< threads stuck inside the kernel; their I/Os are not listed

  static constexpr auto fields() {
    return std::tuple(required("quiet_ns", &HangReport::quiet_ns),
                      required("outstanding", &HangReport::outstanding),
                      required("unreachable_jobs", &HangReport::unreachable_jobs));
  }
};

/// What a thread has consumed so far: two snapshots around a window give its share.
struct ThreadUsage {
  std::uint64_t cpu_ns = 0;                   ///< user and kernel
  std::uint64_t voluntary_switches = 0;       ///< the thread slept
  std::uint64_t involuntary_switches = 0;     ///< the thread was preempted
  std::optional<std::uint64_t> instructions;  ///< user and kernel; empty without a counter

  ThreadUsage& operator+=(const ThreadUsage& other);

  static constexpr auto fields() {
    using U = ThreadUsage;
    return std::tuple(counter("cpu_ns", &U::cpu_ns, FieldKind::required),
                      counter("voluntary_switches", &U::voluntary_switches),
                      counter("involuntary_switches", &U::involuntary_switches),
                      counter("instructions", &U::instructions));
  }
};

ThreadUsage operator-(const ThreadUsage& later, const ThreadUsage& earlier);

/// How long a third of the measured I/Os took, at the rate of the first and of the last third of
/// the window; 0 when unknown. They differ when the device was not in a steady state.
struct Thirds {
  std::uint64_t first_ns = 0;
  std::uint64_t last_ns = 0;

  static constexpr auto fields() {
    return std::tuple(field("first_third_ns", &Thirds::first_ns),
                      field("last_third_ns", &Thirds::last_ns));
  }
};

struct LoadReport {
  Ending ending = Ending::completed;

  // The measured window. With fixed work measured_ios is exactly what was asked for when the run
  // completed without errors; failed I/Os are never in it.
  std::uint64_t measured_ios = 0;
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes = 0;
  std::uint64_t window_begin_ns = 0;  ///< CLOCK_MONOTONIC
  std::uint64_t window_ns = 0;
  std::uint64_t warmup_ios = 0;  ///< completed before the window
  Thirds steady;

  // Of the whole run, warm-up and drain included.
  std::uint64_t errors = 0;
  std::uint64_t short_ios = 0;  ///< completed with fewer bytes than asked for
  std::optional<IoError> first_error;

  // Empty where latencies were not recorded.
  std::optional<Distribution> latency_ns;  ///< reads and writes together
  std::optional<Distribution> read_latency_ns;
  std::optional<Distribution> write_latency_ns;

  // Per io_uring_enter() inside the window.
  Distribution submit_batch;    ///< new I/Os per enter
  Distribution complete_batch;  ///< completions found after an enter
  std::uint64_t enters = 0;

  ThreadUsage usage;  ///< of the job threads inside the window
  std::vector<ThreadUsage> usage_per_job;

  std::optional<HangReport> hang;
  std::vector<std::string> remarks;

  [[nodiscard]] double iops() const;
  [[nodiscard]] double ns_per_io() const;
  /// ExitCode::ok, io, hang or interrupted.
  [[nodiscard]] ExitCode exit_code() const;

  static constexpr auto fields() {
    using R = LoadReport;
    return std::tuple(
        field("ending", &R::ending), required("measured_ios", &R::measured_ios),
        field("reads", &R::reads), field("writes", &R::writes), field("bytes", &R::bytes),
        field("window_begin_ns", &R::window_begin_ns), required("window_ns", &R::window_ns),
        derived("iops", &R::iops), derived("ns_per_io", &R::ns_per_io),
        field("warmup_ios", &R::warmup_ios), field("steady", &R::steady),
        field("errors", &R::errors), field("short_ios", &R::short_ios),
        field("first_error", &R::first_error), field("latency_ns", &R::latency_ns),
        field("read_latency_ns", &R::read_latency_ns),
        field("write_latency_ns", &R::write_latency_ns), field("submit_batch", &R::submit_batch),
        field("complete_batch", &R::complete_batch), field("enters", &R::enters),
        required("usage", &R::usage), field("usage_per_job", &R::usage_per_job),
        field("hang", &R::hang), field("remarks", &R::remarks));
  }
};

}  // namespace ublkbench
