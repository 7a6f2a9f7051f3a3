// SPDX-License-Identifier: MIT
// Doctor's checks of what ublk needs, and of the ublk devices that exist.
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <format>
#include <fstream>

#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/control/features.hpp"
#include "bench/record/environment.hpp"
#include "bench/record/system_files.hpp"
#include "bench/tools/doctor.hpp"
#include "bench/tools/known_kernels.hpp"

namespace ublkbench {
namespace {

using enum CheckStatus;

const SystemFiles& system_files() {
  static const SystemFiles files{""};
  return files;
}

std::string kernel_release() {
  utsname names{};
  ::uname(&names);
  return names.release;
}

/// "module", "builtin" or empty: how depmod's lists name the driver for the running kernel.
std::string installed_as(const std::string& driver) {
  for (const auto& [list, kind] :
       {std::pair{"modules.builtin", "builtin"}, {"modules.dep", "module"}}) {
    std::ifstream lines(std::format("/lib/modules/{}/{}", kernel_release(), list));
    for (std::string line; std::getline(lines, line);)
      if (line.contains("/" + driver + ".ko")) return kind;
  }
  return {};
}

bool has_capability(unsigned number) {
  const auto mask = system_files().field("/proc/self/status", "CapEff");
  if (!mask.is_string()) return ::geteuid() == 0;
  const std::uint64_t bits = std::strtoull(mask.get_ref<const std::string&>().c_str(), nullptr, 16);
  return ((bits >> number) & 1) != 0;
}
constexpr unsigned cap_ipc_lock = 14, cap_sys_admin = 21, cap_sys_resource = 24;

/// Returns whether it can be talked to.
bool check_driver(Findings& findings) {
  const std::string installed = installed_as("ublk_drv");
  const auto present = control::driver_present();
  if (present) {
    const bool builtin =
        installed == "builtin" || !system_files().exists("/sys/module/ublk_drv/initstate");
    findings.push_back(
        {"ublk driver", ok, builtin ? "built into the kernel" : "module ublk_drv is loaded", ""});
    return true;
  }
  const int errnum = present.error().errnum;
  if (errnum == EPERM || errnum == EACCES) {
    findings.push_back(
        {"ublk driver", info, "/dev/ublk-control is there, but not for this user", ""});
  } else if (errnum == ENOENT || errnum == ENODEV || errnum == ENXIO) {
    if (installed == "module")
      findings.push_back({"ublk driver", fail, "module ublk_drv is installed but not loaded",
                          "as root: modprobe ublk_drv"});
    else
      findings.push_back({"ublk driver", fail, "this kernel has no ublk driver",
                          "boot a kernel with CONFIG_BLK_DEV_UBLK (Linux 6.0 or later), or use "
                          "scripts/vm, which boots one"});
  } else {
    findings.push_back({"ublk driver", fail, present.error().message(), "see 'io_uring' below"});
  }
  return false;
}

void check_permission(Findings& findings) {
  if (has_capability(cap_sys_admin)) {
    findings.push_back({"permission", ok, "CAP_SYS_ADMIN", ""});
    return;
  }
  const bool control_is_open = ::access("/dev/ublk-control", R_OK | W_OK) == 0;
  findings.push_back(
      {"permission", fail, "no CAP_SYS_ADMIN: the driver refuses ADD_DEV",
       control_is_open ? "run as root; /dev/ublk-control is open to this user, but unprivileged "
                         "devices (UBLK_F_UNPRIVILEGED_DEV) allow no zero copy and are not measured"
                       : "run as root"});
}

void check_features(Findings& findings) {
  const auto granted = control::features();
  if (!granted) {
    findings.push_back({"features", warn, granted.error().message(),
                        "only copy mode is possible before Linux 6.5"});
    return;
  }
  std::string missing;
  std::size_t count = 0;
  for (const Feature& known : all_features()) {
    if ((known.flag & *granted) != 0) {
      ++count;
      continue;
    }
    if (!missing.empty()) missing += ", ";
    missing += std::format("{} ({})", known.name, known.first_kernel);
  }
  findings.push_back(
      {"features", missing.empty() ? ok : info,
       std::format("{} of {} granted ({:#x})", count, all_features().size(), *granted),
       missing.empty() ? "" : "missing, with the first kernel that has it: " + missing});
}

void check_kernel(Findings& findings) {
  const std::string release = kernel_release();
  const auto kernel = running_kernel(release, system_files().contents("/proc/version"),
                                     trimmed(system_files().contents("/proc/version_signature")));
  if (!kernel) {
    findings.push_back({"kernel", info, release + ": not a version that could be compared", ""});
    return;
  }
  const auto& [major, minor, patch] = kernel->upstream;
  const auto faults = faults_of(*kernel);
  findings.push_back({"kernel", ok,
                      std::format("{} (from {}.{}.{}), {} known fault(s)", release, major, minor,
                                  patch, faults.size()),
                      ""});
  for (const KernelFault& fault : faults)
    findings.push_back({"kernel fault", fault.breaks_everything ? fail : warn,
                        std::format("{}: {}", fault.name, fault.finding),
                        std::format("{} [{}]", fault.advice, fault.source)});
}

void check_io_uring(Findings& findings) {
  const auto disabled = system_files().value("/proc/sys/kernel/io_uring_disabled");
  const std::string enable = "sysctl kernel.io_uring_disabled=0";
  if (disabled == 2)
    findings.push_back(
        {"io_uring", fail, "disabled for everybody (kernel.io_uring_disabled=2)", enable});
  else if (disabled == 1 && !has_capability(cap_sys_admin))
    findings.push_back({"io_uring", fail,
                        "disabled without CAP_SYS_ADMIN (kernel.io_uring_disabled=1)",
                        "run as root, or " + enable});
  else
    findings.push_back({"io_uring", ok, "enabled", ""});
}

void check_memlock(Findings& findings) {
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  if (has_capability(cap_ipc_lock) || limit.rlim_cur == RLIM_INFINITY) {
    findings.push_back({"memlock", ok, "no limit on locked memory", ""});
    return;
  }
  constexpr std::uint64_t enough_bytes = 64 << 20;
  const std::string text = format_size(limit.rlim_cur) + " of locked memory";
  if (limit.rlim_cur >= enough_bytes)
    findings.push_back({"memlock", ok, text, ""});
  else
    findings.push_back({"memlock", warn, text + ": registered buffers may not fit",
                        "ulimit -l unlimited, or run with CAP_IPC_LOCK"});
}

void check_io_flusher(Findings& findings) {
  if (has_capability(cap_sys_resource))
    findings.push_back(
        {"io flusher", ok, "servers can be set PF_IO_FLUSHER (CAP_SYS_RESOURCE)", ""});
  else
    findings.push_back(
        {"io flusher", warn,
         "no CAP_SYS_RESOURCE: memory reclaim in a server may wait for its own device",
         "run as root, or use loop targets on idle file systems only"});
}

std::string queue_settings(int id) {
  const auto limits = queue_limits(std::format("ublkb{}", id));
  if (!limits.is_object()) return "no disk";
  const auto word = [&](const char* name) {
    return limits[name].is_string() ? limits[name].get<std::string>() : limits[name].dump();
  };
  return std::format("scheduler {}, iostats {}, nomerges {}, nr_requests {}", word("scheduler"),
                     word("iostats"), word("nomerges"), word("nr_requests"));
}

void check_device(Findings& findings, int id, bool orphan) {
  const std::string name = std::format("ublkb{}", id);
  const auto device = control::info(id);
  if (!device) {
    findings.push_back({name, warn, device.error().message(), ""});
    return;
  }
  const std::string state = control::state_name(device->state);
  const std::string text =
      std::format("{}, server pid {}, {}", state, device->ublksrv_pid, queue_settings(id));
  if (orphan)
    findings.push_back({name, warn, text + "; left by a run of this suite that is dead",
                        "ublk-server del --orphans"});
  else if (device->state != UBLK_S_DEV_LIVE)
    findings.push_back({name, warn, text,
                        std::format("its server is gone: recover it with its own program, or "
                                    "ublk-server del -n {}",
                                    id)});
  else
    findings.push_back({name, info, text, ""});
}

void check_devices(Findings& findings) {
  const auto ids = control::device_ids();
  const auto orphans = control::orphans();
  if (ids.empty()) findings.push_back({"ublk devices", ok, "none", ""});
  for (const int id : ids) check_device(findings, id, std::ranges::contains(orphans, id));
}

}  // namespace

void check_ublk(Findings& findings) {
  const bool reachable = check_driver(findings);
  check_permission(findings);
  if (reachable) check_features(findings);
  check_kernel(findings);
  check_io_uring(findings);
  check_memlock(findings);
  check_io_flusher(findings);
  if (reachable) check_devices(findings);
}

}  // namespace ublkbench
