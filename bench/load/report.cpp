// SPDX-License-Identifier: MIT
#include "bench/load/report.hpp"

#include <algorithm>

#include "bench/base/format.hpp"
#include "bench/base/percentile.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::load {
namespace {

double per(std::uint64_t amount, std::uint64_t count) {
  return count == 0 ? 0 : static_cast<double>(amount) / static_cast<double>(count);
}

/// A percentile with fewer than ten I/Os beyond it says of how many it is.
std::string latency_line(const char* name, const Distribution& latency) {
  const auto with_count = [&](double percent, double value) {
    const std::string text = format_ns(value);
    return latency.count < values_needed(percent)
               ? formatted("{} (of {} I/Os)", text, latency.count)
               : text;
  };
  return formatted("\n{:<10}p50 {}, p90 {}, p99 {}, p99.9 {}, max {}", name,
                   with_count(50, latency.p50), with_count(90, latency.p90),
                   with_count(99, latency.p99), with_count(99.9, latency.p999),
                   format_ns(static_cast<double>(latency.max)));
}

}  // namespace

void add_counts(const Counts& counts, bool latency_recorded, LoadReport& report) {
  report.submit_batch = distribution_of(counts.submit_batch);
  report.complete_batch = distribution_of(counts.complete_batch);
  if (!latency_recorded) return;
  Histogram all = counts.read_latency_ns;
  all.merge(counts.write_latency_ns);
  report.latency_ns = distribution_of(all);
  report.read_latency_ns = distribution_of(counts.read_latency_ns);
  report.write_latency_ns = distribution_of(counts.write_latency_ns);
}

std::string to_text(const HangReport& hang) {
  std::string text =
      formatted("hang      no completion for {}; {} I/Os outstanding",
                format_ns(static_cast<double>(hang.quiet_ns)), hang.outstanding.size());
  if (hang.unreachable_jobs != 0)
    text += formatted(", {} jobs stuck in the kernel", hang.unreachable_jobs);
  constexpr std::size_t shown = 8;
  for (std::size_t i = 0; i < std::min(shown, hang.outstanding.size()); ++i) {
    const StuckIo& stuck = hang.outstanding[i];
    text +=
        formatted("\n          {} at byte {} of job {}, for {} or longer", name_of(stuck.operation),
                  stuck.offset, stuck.job, format_ns(static_cast<double>(stuck.age_ns)));
  }
  return text;
}

std::string to_text(const LoadReport& report) {
  std::string text = formatted(
      "{:<10}{} IOPS, {:.1f} MB/s, {} I/Os in {} ({})", "load", format_count(report.iops()),
      per(report.bytes, report.window_ns) * 1e3, report.measured_ios,
      format_ns(static_cast<double>(report.window_ns)), name_of(report.ending));
  if (report.latency_ns && report.measured_ios != 0) {
    text += latency_line("latency", *report.latency_ns);
    if (report.reads != 0 && report.writes != 0) {
      text += latency_line("  reads", *report.read_latency_ns);
      text += latency_line("  writes", *report.write_latency_ns);
    }
  }
  text += formatted("\n{:<10}{} per I/O, {:.4f} sleeps and {:.4f} preemptions per I/O", "CPU",
                    format_ns(per(report.usage.cpu_ns, report.measured_ios)),
                    per(report.usage.voluntary_switches, report.measured_ios),
                    per(report.usage.involuntary_switches, report.measured_ios));
  text += formatted("\n{:<10}{:.1f} submitted and {:.1f} completed per io_uring_enter()", "batches",
                    report.submit_batch.mean(), report.complete_batch.mean());
  if (report.steady.first_ns != 0 && report.steady.last_ns != 0) {
    const double change =
        static_cast<double>(report.steady.last_ns) / static_cast<double>(report.steady.first_ns) -
        1;
    if (change > 0.05 || change < -0.05)
      text += formatted(
          "\n{:<10}not in a steady state: the last third took {:+.0f} % of the time "
          "of the first",
          "steady", change * 100);
  }
  if (report.first_error)
    text += formatted("\n{:<10}{}, the first: {}", "errors", report.errors,
                      report.first_error->message());
  if (report.short_ios != 0) text += formatted("\n{:<10}{} I/Os", "short", report.short_ios);
  if (report.hang) text += "\n" + to_text(*report.hang);
  for (const std::string& remark : report.remarks)
    text += formatted("\n{:<10}{}", "remark", remark);
  return text;
}

}  // namespace ublkbench::load
