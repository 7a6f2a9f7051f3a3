// SPDX-License-Identifier: MIT
// Doctor's checks of what diagnosis and measurement need of the machine.
#include <unistd.h>
#include <algorithm>

#include <cstdint>
#include <fstream>

#include "bench/base/format.hpp"
#include "bench/control/driver_advice.hpp"
#include "bench/record/cpu_quota.hpp"
#include "bench/record/environment.hpp"
#include "bench/tools/ublkbench/doctor.hpp"
#include "bench/tools/ublkbench/doctor_files.hpp"

namespace ublkbench {
namespace {

using enum CheckStatus;

bool readable(const char* path) { return std::ifstream(path).get() != EOF; }

void check_btf(Findings& findings) {
  const bool kernel = system_files().exists("/sys/kernel/btf/vmlinux");
  const bool driver = system_files().exists("/sys/kernel/btf/ublk_drv");
  const bool is_module = system_files().exists("/sys/module/ublk_drv/initstate");
  if (kernel && (driver || !is_module))
    findings.push_back(
        {"BTF", ok, driver ? "types of the kernel and of ublk_drv" : "types of the kernel", ""});
  else
    findings.push_back({"BTF", warn,
                        kernel ? "no types of module ublk_drv" : "the kernel has no types",
                        "probes and dumps need CONFIG_DEBUG_INFO_BTF and _MODULES"});
}

void check_kernel_memory(Findings& findings) {
  if (readable("/proc/kcore"))
    findings.push_back({"kcore", ok, "/proc/kcore can be read", ""});
  else
    findings.push_back({"kcore", warn, "/proc/kcore cannot be read",
                        "dumps of a hung device need root, CONFIG_PROC_KCORE and no lockdown"});

  const std::string lockdown = system_files().chosen("/sys/kernel/security/lockdown").value_or("");
  if (lockdown.empty())
    findings.push_back({"lockdown", info, "state not visible (no securityfs, or no lockdown)", ""});
  else if (lockdown == "none")
    findings.push_back({"lockdown", ok, "none", ""});
  else
    findings.push_back(
        {"lockdown", warn, lockdown,
         "kernel memory (and with 'confidentiality' BPF probes) cannot be read; boot "
         "without Secure Boot or with lockdown=none"});

  const std::string restrict = system_files().text("/proc/sys/kernel/kptr_restrict").value_or("");
  if (restrict == "2")
    findings.push_back({"kptr_restrict", warn, "2: kernel addresses are hidden from root, too",
                        "sysctl kernel.kptr_restrict=1"});
  else
    findings.push_back({"kptr_restrict", ok, restrict.empty() ? "not visible" : restrict, ""});
}

void check_tracing(Findings& findings) {
  const bool debugfs = system_files().exists("/sys/kernel/debug/block");
  findings.push_back(
      {"debugfs", debugfs ? ok : warn,
       debugfs ? "/sys/kernel/debug/block" : "no /sys/kernel/debug/block",
       debugfs ? ""
               : "mount -t debugfs debugfs /sys/kernel/debug (blk-mq state of a hung device)"});
  const bool tracefs = system_files().exists("/sys/kernel/tracing/events/block");
  findings.push_back(
      {"tracefs", tracefs ? ok : warn, tracefs ? "/sys/kernel/tracing" : "no /sys/kernel/tracing",
       tracefs ? ""
               : "mount -t tracefs tracefs /sys/kernel/tracing (block and io_uring tracepoints)"});
}

void check_control_device(Findings& findings) {
  if (control::driver_installed("null_blk", control::kernel_release()) != control::Installed::no ||
      system_files().exists("/sys/module/null_blk"))
    findings.push_back({"null_blk", ok, "available for the control cell", ""});
  else
    findings.push_back({"null_blk", warn, "not available: runs have no control cell",
                        "install the kernel's extra modules (CONFIG_BLK_DEV_NULL_BLK), or give "
                        "--control loop or a device"});
}

void check_poll_queues(Findings& findings) {
  for (const char* driver : {"nvme", "null_blk"}) {
    const auto value =
        system_files().number(formatted("/sys/module/{}/parameters/poll_queues", driver));
    if (!value) continue;
    const bool some = *value > 0;
    findings.push_back({formatted("poll queues {}", driver), some ? ok : info,
                        formatted("{}.poll_queues={}", driver, *value),
                        some ? ""
                             : formatted("modes with iopoll need {}.poll_queues=1 or more on the "
                                         "kernel command line or at modprobe",
                                         driver)});
  }
}

void check_hugepages(Findings& findings) {
  const std::string free = system_files().field("/proc/meminfo", "HugePages_Free").value_or("");
  const std::string size = system_files().field("/proc/meminfo", "Hugepagesize").value_or("");
  const bool some = !free.empty() && free != "0";
  findings.push_back({"hugepages", some ? ok : info,
                      free.empty() ? "not supported" : formatted("{} free of {}", free, size),
                      some || free.empty() ? ""
                                           : "shared-memory zero copy in large pages needs sysctl "
                                             "vm.nr_hugepages=64 or so"});
}

void check_cpu(Findings& findings, const CpuFacts& cpu) {
  const std::string governor = cpu.governor.value_or("");
  if (governor.empty())
    findings.push_back({"CPU governor", info, "no frequency scaling visible", ""});
  else if (governor == "performance")
    findings.push_back({"CPU governor", ok, governor, ""});
  else
    findings.push_back({"CPU governor", warn, governor + ": figures follow the load",
                        "cpupower frequency-set -g performance"});

  const bool turbo = cpu.no_turbo == 0 || cpu.boost == 1;
  findings.push_back({"CPU turbo", turbo ? warn : ok,
                      turbo ? "on: figures depend on temperature" : "off or not visible",
                      turbo ? "echo 1 >/sys/devices/system/cpu/intel_pstate/no_turbo, or echo 0 "
                              ">/sys/devices/system/cpu/cpufreq/boost"
                            : ""});
  const bool smt = cpu.smt == "on";
  findings.push_back(
      {"CPU SMT", smt ? info : ok, smt ? "on" : "off or not there",
       smt ? "pin server and load to different cores (--server-cpus, --load-cpus)" : ""});
}

/// Of this process: servers that it starts are in the same group.
void check_cpu_quota(Findings& findings) {
  const auto quota = cpu_quota_of(::getpid());
  if (!quota) {
    findings.push_back({"CPU quota", ok, "none", ""});
    return;
  }
  findings.push_back(
      {"CPU quota", warn,
       formatted("{:.2f} CPUs ({}); stopped for it in {} of {} periods since the group was made",
                 quota->cpus, quota->group, quota->throttled_periods, quota->periods),
       "server and load are stopped when it is used up; raise it (cpu.max, docker --cpus, systemd "
       "CPUQuota=), or read 'ublkbench explain'"});
}

void check_mitigations(Findings& findings, const EnvironmentKey& machine) {
  const auto active = std::ranges::count_if(machine.vulnerabilities, [](const auto& entry) {
    return entry.second.starts_with("Mitigation");
  });
  findings.push_back(
      {"mitigations", info,
       formatted("{} active; they cost at every system call and are in the record", active), ""});
}

void check_clock(Findings& findings, const EnvironmentKey& machine) {
  const std::string clock = machine.clocksource.value_or("");
  const bool fast = clock == "tsc" || clock == "kvm-clock" || clock == "arch_sys_counter" ||
                    clock.starts_with("hyperv_clocksource");
  findings.push_back({"clocksource", fast ? ok : warn, clock.empty() ? "not visible" : clock,
                      fast
                          ? ""
                          : "reading the time costs a system call or a device access for each I/O; "
                            "see dmesg for why tsc was not chosen"});
}

void check_machine(Findings& findings, const MachineFacts& machine) {
  const std::string& accelerator = machine.accelerator;
  if (accelerator == "none")
    findings.push_back({"machine", ok, "no hypervisor", ""});
  else if (accelerator == "tcg")
    findings.push_back({"machine", warn, "emulated (QEMU's tcg)",
                        "figures compare with others of the same emulator only; count instructions "
                        "with --icount"});
  else
    findings.push_back({"machine", info, "virtual: " + accelerator, ""});
}

void check_security_modules(Findings& findings) {
  const std::string modules = system_files().text("/sys/kernel/security/lsm").value_or("");
  const bool hooked = modules.contains("selinux") || modules.contains("smack");
  findings.push_back(
      {"security modules", info, modules.empty() ? "not visible (no securityfs)" : modules,
       hooked ? "security_uring_cmd runs for every ublk command; compare with selinux=0 "
                "before blaming ublk"
              : ""});
}

}  // namespace

void check_diagnosis(Findings& findings) {
  check_btf(findings);
  check_kernel_memory(findings);
  check_tracing(findings);
}

void check_measurement(Findings& findings) {
  const EnvironmentKey machine = capture_environment().key_fields;
  check_control_device(findings);
  check_poll_queues(findings);
  check_hugepages(findings);
  check_machine(findings, machine.machine);
  check_cpu(findings, machine.cpu);
  check_cpu_quota(findings);
  check_mitigations(findings, machine);
  check_clock(findings, machine);
  check_security_modules(findings);
}

}  // namespace ublkbench
