// SPDX-License-Identifier: MIT
#include "bench/record/load_report.hpp"

#include <cstring>

#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

double per(std::uint64_t amount, std::uint64_t count) {
  return count == 0 ? 0 : static_cast<double>(amount) / static_cast<double>(count);
}

}  // namespace

std::string IoError::message() const {
  if (errnum == 0) return formatted("{} at byte {} was short", name_of(operation), offset);
  return formatted("{} at byte {} failed: {}", name_of(operation), offset, std::strerror(errnum));
}

ThreadUsage& ThreadUsage::operator+=(const ThreadUsage& other) {
  cpu_ns += other.cpu_ns;
  voluntary_switches += other.voluntary_switches;
  involuntary_switches += other.involuntary_switches;
  if (instructions && other.instructions)
    *instructions += *other.instructions;
  else
    instructions.reset();  // a sum that lacks a thread would be a wrong figure
  return *this;
}

ThreadUsage operator-(const ThreadUsage& later, const ThreadUsage& earlier) {
  ThreadUsage difference = later;
  if (!earlier.instructions) difference.instructions.reset();
  subtract(difference, earlier);
  return difference;
}

double LoadReport::iops() const { return per(measured_ios, window_ns) * 1e9; }
double LoadReport::ns_per_io() const { return per(window_ns, measured_ios); }

ExitCode LoadReport::exit_code() const {
  if (hang) return ExitCode::hang;
  if (errors != 0 || short_ios != 0) return ExitCode::io;
  return ending == Ending::stopped ? ExitCode::interrupted : ExitCode::ok;
}

}  // namespace ublkbench
