// SPDX-License-Identifier: MIT
// Kernels with faults that a user of ublk should know before running anything.
#pragma once

#include <compare>
#include <optional>
#include <string_view>
#include <vector>

namespace ublkbench {

inline constexpr unsigned released = ~0U;

struct KernelVersion {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned patch = 0;
  unsigned candidate = released;  ///< 2 for -rc2, which comes before the release
  auto operator<=>(const KernelVersion&) const = default;
};

/// "7.3.4+deb13-cloud-amd64" -> 7.3.4, "6.17.0-1015-azure" -> 6.17.0, "7.4-rc2" -> 7.4.0, rc 2.
std::optional<KernelVersion> parse_kernel_version(std::string_view release);

/// What runs: `release` is uname -r; `upstream` is the stable release that it was made from, where
/// the distribution's release hides it (Debian's "6.12.57-1" in /proc/version, Ubuntu's
/// /proc/version_signature).
struct RunningKernel {
  std::string_view release;
  KernelVersion upstream;
};

/// `proc_version` and `version_signature` are the files' contents, empty where there is none.
std::optional<RunningKernel> running_kernel(std::string_view release, std::string_view proc_version,
                                            std::string_view version_signature);

struct KernelFault {
  std::string_view name;
  /// From `first` on, before `fixed`; `fixed` {} means that no fix is known.
  KernelVersion first;
  KernelVersion fixed;
  /// The release must contain one of these words, separated by spaces ("azure aws"); empty: any.
  std::string_view flavours;
  /// Ubuntu's builds of one version: from the first to before the second number of
  /// "6.17.0-1015-azure"; {} where the version alone decides.
  struct {
    unsigned first = 0;
    unsigned fixed = 0;
  } builds;
  bool breaks_everything = false;  ///< the first ADD_DEV does harm: do not run here
  std::string_view finding;
  std::string_view advice;
  std::string_view source;
};

/// All rows of the table.
const std::vector<KernelFault>& kernel_faults();

bool concerns(const KernelFault& fault, const RunningKernel& kernel);

/// The rows that concern this kernel.
std::vector<KernelFault> faults_of(const RunningKernel& kernel);

}  // namespace ublkbench
