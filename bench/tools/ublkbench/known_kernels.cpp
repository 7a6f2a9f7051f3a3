// SPDX-License-Identifier: MIT
// The table of kernels with known faults. A row needs a source that was read; say so if it was not.
#include "bench/tools/ublkbench/known_kernels.hpp"

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

constexpr std::string_view ubuntu_source =
    "https://github.com/actions/runner-images/issues/14175, "
    "https://bugs.launchpad.net/ubuntu/+source/linux-azure/+bug/2154635, and go-ublk's guide, "
    "\"Known kernel bugs\"";

/// 8a14be55bdc6 (ublk: clear force_abort in ublk_queue_reset_io_flags()).
constexpr KernelFault batch_quiesce(KernelVersion first, KernelVersion fixed) {
  return {.name = "batch device after QUIESCE_DEV",
          .first = first,
          .fixed = fixed,
          .finding =
              "a batch device that was quiesced fails I/O with EIO across the handover: "
              "force_abort survives it",
          .advice = "hand batch devices over without QUIESCE_DEV (ublk-server recover)",
          .source = "8a14be55bdc6 (7.3-rc3, 7.2.7); go-ublk's guide, \"Known kernel bugs\""};
}

constexpr KernelFault lost_command(KernelVersion first, KernelVersion fixed) {
  return {
      .name = "control command lost",
      .first = first,
      .fixed = fixed,
      .finding =
          "a control command that io_uring punts may never be picked up by io-wq (seen here)",
      .advice = "commands are bounded, so a run fails instead of hanging; prefer another kernel",
      .source = "https://github.com/e2b-dev/ublk-churn-repro"};
}

/// Ubuntu's builds of 6.17 from one to before another.
constexpr KernelFault ubuntu_oops(std::string_view flavour, unsigned first, unsigned fixed,
                                  bool was_seen, std::string_view finding,
                                  std::string_view advice) {
  return {.name = "ADD_DEV oops",
          .first = {6, 17, 0},
          .fixed = {6, 18, 0},
          .flavours = flavour,
          .builds = {first, fixed},
          .breaks_everything = was_seen,
          .finding = finding,
          .advice = advice,
          .source = ubuntu_source};
}

/// The build number of Ubuntu's release: 1015 of "6.17.0-1015-azure"; 0 of others.
unsigned build_of(std::string_view release) {
  const auto words = split(release, '-');
  unsigned number = 0;
  if (words.size() < 3) return 0;
  const auto [end, error] =
      std::from_chars(words[1].data(), words[1].data() + words[1].size(), number);
  return error == std::errc{} && *end == '\0' ? number : 0;
}

}  // namespace

const std::vector<KernelFault>& kernel_faults() {
  static const std::vector<KernelFault> faults{
      // 529d4d632788 (NUMA-aware allocation) without its prerequisite 011af85ccd87.
      {.name = "ADD_DEV oops",
       .first = {6, 18, 4},
       .fixed = {6, 18, 6},
       .breaks_everything = true,
       .finding = "the first ADD_DEV oopses in ublk_init_queues and never returns",
       .advice = "boot another kernel; 6.18.6 has the fix",
       .source = "https://github.com/kvcache-ai/AgentENV/issues/20, "
                 "https://github.com/zabbly/linux/issues/52"},
      ubuntu_oops("generic", 35, 41, true,
                  "Ubuntu's 6.17.0-35 to -40 oops in ublk_init_queues at the first ADD_DEV, which "
                  "never returns",
                  "boot 6.17.0-41 or later, or use scripts/vm, which boots its own"),
      ubuntu_oops("generic", 24, 35, false,
                  "Ubuntu's 6.17.0-24 to -34 list the change that made -35 oops at the first "
                  "ADD_DEV; nobody was seen to try them",
                  "boot 6.17.0-41 or later, or use scripts/vm, which boots its own"),
      ubuntu_oops("azure", 1014, 1021, true,
                  "Ubuntu's 6.17.0-1014 to -1020-azure oops in ublk_init_queues at the first "
                  "ADD_DEV, which never returns",
                  "boot 6.17.0-1021 or later, or use scripts/vm, which boots its own"),
      ubuntu_oops("aws", 1019, 1020, true,
                  "Ubuntu's 6.17.0-1019-aws oopses in ublk_init_queues at the first ADD_DEV, which "
                  "never returns",
                  "boot 6.17.0-1020 or later, or use scripts/vm, which boots its own"),
      lost_command({6, 18, 40}, {6, 18, 41}),
      lost_command({7, 0, 14}, {7, 0, 15}),
      // The kernel.org entry was not at hand when this was written; the range is from memory.
      {.name = "CVE-2025-37906",
       .first = {6, 7, 0},
       .fixed = {6, 14, 6},
       .finding = "io_uring_cmd_complete_in_task races with ublk_cancel_cmd: use after free when a "
                  "server dies under load",
       .advice = "do not kill a server under load unless your distribution backported f40139fde527",
       .source = "CVE-2025-37906 (range from memory)"},
      // Linux 6.17 began to compare the pid that START_DEV names with the fetching task's.
      {.name = "START_DEV in a PID namespace",
       .first = {6, 17, 0},
       .fixed = {6, 18, 8},
       .finding = "START_DEV and END_USER_RECOVERY of a server in a PID namespace (a container) "
                  "answer EINVAL",
       .advice = "start the server in the machine's PID namespace: docker run --pid=host",
       .source =
           "https://github.com/longhorn/longhorn/issues/11977 (Ubuntu's 6.17.0-41 has the fix)"},
      {.name = "write-zeroes cut short",
       .first = {6, 0, 0},
       .fixed = {6, 11, 0},
       .finding =
           "a write-zeroes or discard of 4 GiB or more keeps the old contents of its end, if "
           "a server takes that much in one I/O",
       .advice =
           "servers: max_write_zeroes_sectors and max_discard_sectors below 4 GiB; ours take 1 "
           "GiB at most",
       .source = "go-ublk's guide, \"Known kernel bugs\": seen on 6.4 to 6.10"},
      batch_quiesce({7, 0, 0}, {7, 2, 7}),
      batch_quiesce({7, 3, 0, 1}, {7, 3, 0, 3}),
      {.name = "oops at a server's end",
       .first = {6, 7, 0},
       .fixed = {7, 3, 4},
       .finding =
           "a request may be dispatched to an io command that was canceled already, on three "
           "routes, and oops",
       .advice = "do not kill or stop servers under load on machines that must stay up",
       .source = "Josef Bacik, linux-block, 2026-09-28 (series of nine); that io commands can be "
                 "canceled is new in 6.7, the first version with the fault is not known"},
      {.name = "QUIESCE_MISSED",
       .first = {7, 3, 0},
       .finding =
           "QUIESCE_DEV returns at once while the server holds every I/O, and commands "
           "fetched later are never cancelled (seen on 7.3.4; known upstream, patches posted)",
       .advice = "quiesce when the device is idle; a server that waits for ever must be restarted",
       .source = "Josef Bacik, \"ublk: fix UBLK_CMD_QUIESCE_DEV leaving commands behind\", "
                 "https://lore.kernel.org/linux-block/cover.1791303049.git.josef@toxicpanda.com"},
      {.name = "CANCEL_LIVELOCK",
       .first = {7, 3, 0},
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
  // "-rc2", and "~rc2" in Debian's package versions.
  if (const auto number = after(release.substr(0, release.find(' ')), "rc"); !number.empty())
    std::from_chars(number.data(), number.data() + number.size(), version.candidate);
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
  if (fault.builds.fixed != 0) {
    const unsigned build = build_of(kernel.release);
    if (build < fault.builds.first || build >= fault.builds.fixed) return false;
  }
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
