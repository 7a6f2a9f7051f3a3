// SPDX-License-Identifier: MIT
// One sample: a fresh device and a fresh server process, verified once, loaded once, removed.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "bench/record/sample_record.hpp"
#include "bench/server/server.hpp"
#include "bench/suite/borrowed_scheduler.hpp"
#include "bench/suite/plan.hpp"

namespace ublkbench {

/// `exit` is what it means for the run's exit code.
struct Sample {
  SampleRecord record;
  ExitCode exit = ExitCode::ok;
};

class Sampler {
 public:
  /// `borrowed` has the devices that the run did not make.
  Sampler(const RunOptions& options, BorrowedSchedulers& borrowed)
      : options_(options), borrowed_(borrowed) {}

  /// Measures `cell` once. Never fails as a call: what went wrong is in the record, and whatever it
  /// was, the device is gone afterwards.
  Sample measure(const Cell& cell);

 private:
  Sample measure_ublk(const Cell& cell);
  Sample measure_control(const Cell& cell);
  Sample measure_device(const Cell& cell, const std::string& path,
                        const Result<SchedulerChoice>& scheduler);
  bool should_verify(const Cell& cell) const;
  [[nodiscard]] std::string verified_key(const Cell& cell) const;
  /// `buffer_file`: the memory that a server shares; empty: none.
  Verification verify(const Cell& cell, const std::string& path, const std::string& buffer_file);
  /// Asks ublk-dump about a sample that hangs; to be called while it still does.
  void explain_hang(Sample& sample, int device);

  const RunOptions& options_;
  BorrowedSchedulers& borrowed_;
  std::set<std::string> verified_;  // what passed in this run, see verified_key()
};

}  // namespace ublkbench
