// SPDX-License-Identifier: MIT
// Can this machine run ublk, and what on it disturbs a measurement? One finding a check.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ublkbench {

enum class CheckStatus : std::uint8_t {
  ok,
  info,  ///< worth knowing, nothing to do
  warn,  ///< it runs, but something is missing or figures suffer
  fail,  ///< ublkbench cannot run here
};

struct Finding {
  std::string name;
  CheckStatus status = CheckStatus::ok;
  std::string finding;
  std::string advice;  ///< what to do; empty when there is nothing to do
};

using Findings = std::vector<Finding>;

/// Driver, permission, features, kernel, io_uring, limits, devices that exist.
void check_ublk(Findings& findings);
/// What diagnosis needs: types, kernel memory, tracing.
void check_diagnosis(Findings& findings);
/// What comparisons need and what disturbs them: control device, CPU, clock, security modules.
void check_measurement(Findings& findings);

/// One line a finding, a second line for the advice.
std::string format_findings(const Findings& findings, bool color);

/// Runs all checks and prints them. ExitCode::ok when the machine can run (with warnings or not),
/// else ExitCode::environment.
int run_doctor(bool json);

}  // namespace ublkbench
