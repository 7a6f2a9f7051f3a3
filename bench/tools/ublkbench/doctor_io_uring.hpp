// SPDX-License-Identifier: MIT
// Does io_uring work for this process, and if not, who forbids it?
#pragma once

#include <string>

#include "bench/tools/ublkbench/doctor.hpp"

namespace ublkbench {

struct IoUringFacts {
  std::string operation;  ///< what failed: "io_uring_setup" or "io_uring_enter"
  int errnum = 0;         ///< 0: a ring was made, and carried out a NOP
  int disabled = 0;       ///< kernel.io_uring_disabled; 0 where there is no such sysctl
  long group = -1;        ///< kernel.io_uring_group
  bool filtered = false;  ///< a seccomp filter is attached
  bool privileged = false;
};

Finding io_uring_finding(const IoUringFacts& facts);

/// Makes a ring like the servers' and runs a NOP through it: a sysctl says neither what a seccomp
/// filter or a security module does, nor who is in kernel.io_uring_group.
void check_io_uring(Findings& findings, bool privileged);

}  // namespace ublkbench
