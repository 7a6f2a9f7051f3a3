// SPDX-License-Identifier: MIT
// What a run of the load found, for people.
#pragma once

#include <string>

#include "bench/base/histogram.hpp"
#include "bench/record/load_report.hpp"

namespace ublkbench::load {

/// What the jobs counted, and the report's distributions are made of.
struct Counts {
  Histogram read_latency_ns;
  Histogram write_latency_ns;
  Histogram submit_batch;
  Histogram complete_batch;
};

/// Puts the distributions into the report; those of latencies only where they were recorded.
void add_counts(const Counts& counts, bool latency_recorded, LoadReport& report);

/// A few lines, without a final newline.
std::string to_text(const LoadReport& report);
std::string to_text(const HangReport& hang);

}  // namespace ublkbench::load
