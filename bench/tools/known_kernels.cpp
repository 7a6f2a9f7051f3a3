// SPDX-License-Identifier: MIT
// The table of kernels with known faults. A row needs a source that was read; say so if it was not.
#include "bench/tools/known_kernels.hpp"

#include <algorithm>
#include <charconv>
#include <string>

#include "bench/base/units.hpp"

namespace ublkbench {
namespace {

std::string_view after(std::string_view text, std::string_view marker) {
  const auto at = text.find(marker);
  return at == std::string_view::npos ? std::string_view{} : text.substr(at + marker.size());
}

}  // namespace

const std::vector<KernelFault>& kernel_faults() {
  static const std::vector<KernelFault> faults{
      // 529d4d632788 (NUMA-aware allocation) without its prerequisite 011af85ccd87.
      {.name = "ADD_DEV oops",
       .first = {6, 18, 4},
       .fixed = {6, 18, 6},
       .flavours = "",
       .breaks_everything = true,
       .finding = "the first ADD_DEV oopses in ublk_init_queues and never returns",
       .advice = "boot another kernel; 6.18.6 has the fix",
       .source = "https://github.com/kvcache-ai/AgentENV/issues/20, "
                 "https://github.com/zabbly/linux/issues/52"},
      {.name = "ADD_DEV oops",
       .first = {6, 17, 0},
       .fixed = {6, 18, 0},
       .flavours = "azure aws",
       .breaks_everything = true,
       .finding =
           "Ubuntu's 6.17 cloud kernels (seen: 6.17.0-1015-azure) oops in ublk_init_queues at "
           "the first ADD_DEV, which never returns",
       .advice = "boot another kernel (6.8 is unaffected), or use scripts/vm, which boots its own",
       .source = "https://github.com/actions/runner-images/issues/14175, "
                 "https://bugs.launchpad.net/ubuntu/+source/linux-azure/+bug/2154635"},
      {.name = "control command lost",
       .first = {6, 18, 40},
       .fixed = {6, 18, 41},
       .flavours = "",
       .breaks_everything = false,
       .finding =
           "a control command that io_uring punts may never be picked up by io-wq (seen here)",
       .advice = "commands are bounded, so a run fails instead of hanging; prefer another kernel",
       .source = "https://github.com/e2b-dev/ublk-churn-repro"},
      {.name = "control command lost",
       .first = {7, 0, 14},
       .fixed = {7, 0, 15},
       .flavours = "",
       .breaks_everything = false,
       .finding =
           "a control command that io_uring punts may never be picked up by io-wq (seen here)",
       .advice = "commands are bounded, so a run fails instead of hanging; prefer another kernel",
       .source = "https://github.com/e2b-dev/ublk-churn-repro"},
      // The kernel.org entry was not at hand when this was written; the range is from memory.
      {.name = "CVE-2025-37906",
       .first = {6, 7, 0},
       .fixed = {6, 14, 6},
       .flavours = "",
       .breaks_everything = false,
       .finding = "io_uring_cmd_complete_in_task races with ublk_cancel_cmd: use after free when a "
                  "server dies under load",
       .advice = "do not kill a server under load unless your distribution backported f40139fde527",
       .source = "CVE-2025-37906 (range from memory)"},
      {.name = "QUIESCE_MISSED",
       .first = {7, 3, 0},
       .fixed = {},
       .flavours = "",
       .breaks_everything = false,
       .finding = "QUIESCE_DEV returns at once while the server holds every I/O, and commands "
                  "fetched later are never cancelled (seen on 7.3.4; no fix known)",
       .advice = "quiesce when the device is idle; a server that waits for ever must be restarted",
       .source = "seen on 7.3.4: ublk_wait_for_idle_io counts only requests that are not started "
                 "among those that are"},
      {.name = "CANCEL_LIVELOCK",
       .first = {7, 3, 0},
       .fixed = {},
       .flavours = "",
       .breaks_everything = false,
       .finding =
           "kill -9 of a zero-copy server that leaks one registered buffer leaves a spinning "
           "kworker and a device that cannot be deleted (seen on 7.3.4; no fix known)",
       .advice =
           "a server that commits before it unregisters must not be killed; reboot to recover",
       .source = "seen on 7.3.4: ublk_cancel_cmd returns early for a started request"},
  };
  return faults;
}

std::optional<KernelVersion> parse_kernel_version(std::string_view release) {
  KernelVersion version;
  const char* at = release.data();
  const char* const end = at + release.size();
  for (unsigned* const part : {&version.major, &version.minor, &version.patch}) {
    if (part != &version.major) {
      if (at == end || *at != '.') break;
      ++at;
    }
    const auto [rest, error] = std::from_chars(at, end, *part);
    if (error != std::errc{}) {
      if (part != &version.patch) return std::nullopt;
      break;
    }
    at = rest;
  }
  return release.contains('.') ? std::optional(version) : std::nullopt;
}

std::optional<RunningKernel> running_kernel(std::string_view release, std::string_view proc_version,
                                            std::string_view version_signature) {
  auto upstream = parse_kernel_version(release);
  if (!upstream) return std::nullopt;
  // "Ubuntu 6.17.0-1015.15~24.04.1-azure 6.17.9"
  const auto signature = split(version_signature, ' ');
  if (signature.size() >= 3)
    if (const auto version = parse_kernel_version(signature[2])) upstream = version;
  // "... #1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1 (2025-05-22)"
  if (const auto package = after(proc_version, " SMP "); !package.empty())
    if (const auto version = parse_kernel_version(after(package, "Debian "))) upstream = version;
  return RunningKernel{.release = release, .upstream = *upstream};
}

bool concerns(const KernelFault& fault, const RunningKernel& kernel) {
  if (kernel.upstream < fault.first) return false;
  if (fault.fixed != KernelVersion{} && kernel.upstream >= fault.fixed) return false;
  const auto flavours = split(fault.flavours, ' ');
  return flavours.empty() || std::ranges::any_of(flavours, [&](const std::string& flavour) {
           return kernel.release.contains("-" + flavour);
         });
}

std::vector<KernelFault> faults_of(const RunningKernel& kernel) {
  std::vector<KernelFault> found;
  std::ranges::copy_if(kernel_faults(), std::back_inserter(found),
                       [&](const KernelFault& fault) { return concerns(fault, kernel); });
  return found;
}

}  // namespace ublkbench
