// SPDX-License-Identifier: MIT
// All probes there are; probes.cpp has the table.
#pragma once

#include "probes/probe.hpp"

namespace ublkbench::probes {

Result<std::unique_ptr<Probe>> attach_batch(const ProbeSetup& setup);
Result<std::unique_ptr<Probe>> attach_latency(const ProbeSetup& setup);
Result<std::unique_ptr<Probe>> attach_wakeups(const ProbeSetup& setup);
Result<std::unique_ptr<Probe>> attach_syscalls(const ProbeSetup& setup);
Result<std::unique_ptr<Probe>> attach_interrupts(const ProbeSetup& setup);
Result<std::unique_ptr<Probe>> attach_tags(const ProbeSetup& setup);
Result<std::unique_ptr<Probe>> attach_zc(const ProbeSetup& setup);
Result<std::unique_ptr<Probe>> attach_errors(const ProbeSetup& setup);

}  // namespace ublkbench::probes
