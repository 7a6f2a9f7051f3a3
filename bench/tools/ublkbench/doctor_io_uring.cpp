// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/doctor_io_uring.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "bench/base/format.hpp"
#include "bench/ring/ring.hpp"
#include "bench/tools/ublkbench/doctor_files.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t nop_timeout_ns = 5'000'000'000;
constexpr const char* check_name = "io_uring";

Finding refused(std::string finding, std::string advice) {
  return {check_name, CheckStatus::fail, std::move(finding), std::move(advice)};
}

/// What the sysctl says of this process; empty where it lets it in.
std::string forbidden_by_sysctl(const IoUringFacts& facts) {
  if (facts.disabled == 2) return "disabled for everybody (kernel.io_uring_disabled=2)";
  if (facts.disabled != 1 || facts.privileged) return {};
  if (facts.group < 0)
    return "kernel.io_uring_disabled=1 lets in CAP_SYS_ADMIN only (kernel.io_uring_group is unset)";
  return formatted(
      "kernel.io_uring_disabled=1 lets in CAP_SYS_ADMIN and group {} (kernel.io_uring_group), and "
      "this process has neither",
      facts.group);
}

/// Fills in what failed, if something did.
void try_ring(IoUringFacts& facts) {
  facts.operation = "io_uring_setup";
  auto ring = Ring::create({.sq_entries = 2, .sqe128 = true});
  if (!ring) {
    facts.errnum = ring.error().errnum;
    return;
  }
  facts.operation = "io_uring_enter";
  io_uring_prep_nop(ring->sqe());
  const int ret = ring->submit_timeout(1, nop_timeout_ns);
  facts.errnum = ret < 0 ? -ret : 0;
}

}  // namespace

Finding io_uring_finding(const IoUringFacts& facts) {
  const std::string error = formatted("{}: {}", facts.operation, std::strerror(facts.errnum));
  if (facts.errnum == 0)
    return {check_name, CheckStatus::ok,
            facts.disabled == 0
                ? "a ring works"
                : formatted("a ring works (kernel.io_uring_disabled={} lets this process in)",
                            facts.disabled),
            ""};
  if (facts.errnum == EPERM || facts.errnum == EACCES || facts.errnum == ENOSYS) {
    if (auto reason = forbidden_by_sysctl(facts); !reason.empty() && facts.errnum == EPERM)
      return refused(std::move(reason), facts.disabled == 2
                                            ? "sysctl kernel.io_uring_disabled=0"
                                            : "run as root, join that group, or sysctl "
                                              "kernel.io_uring_disabled=0");
    if (facts.filtered)
      return refused(error + ", and this process has a seccomp filter, as containers do",
                     "docker or podman run --security-opt seccomp=unconfined, or a profile that "
                     "allows io_uring_setup, io_uring_enter and io_uring_register");
    if (facts.errnum == ENOSYS)
      return refused(error + ": this kernel was built without io_uring",
                     "boot a kernel with CONFIG_IO_URING");
    return refused(error + ", though no sysctl forbids it",
                   "ask the security module (SELinux, AppArmor): its log is in dmesg or audit.log");
  }
  if (facts.errnum == ENOMEM)
    return refused(error, "raise the locked-memory limit: ulimit -l unlimited");
  return refused(error, "the servers' rings need Linux 6.1 or later (IORING_SETUP_DEFER_TASKRUN)");
}

void check_io_uring(Findings& findings, bool privileged) {
  const SystemFiles& files = system_files();
  const auto number = [&](const char* path, long otherwise) {
    return files.number(path).value_or(otherwise);
  };
  IoUringFacts facts{.operation = {},
                     .errnum = 0,
                     .disabled = static_cast<int>(number("/proc/sys/kernel/io_uring_disabled", 0)),
                     .group = number("/proc/sys/kernel/io_uring_group", -1),
                     .filtered = files.field("/proc/self/status", "Seccomp") == "2",
                     .privileged = privileged};
  try_ring(facts);
  findings.push_back(io_uring_finding(facts));
}

}  // namespace ublkbench
