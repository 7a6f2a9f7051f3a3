// SPDX-License-Identifier: MIT
// Doctor's checks of what ublk needs, and of the ublk devices that exist.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "bench/base/fd.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/control/device_limit.hpp"
#include "bench/control/driver_advice.hpp"
#include "bench/control/features.hpp"
#include "bench/control/holders.hpp"
#include "bench/control/orphans.hpp"
#include "bench/record/block_queue.hpp"
#include "bench/tools/ublkbench/doctor.hpp"
#include "bench/tools/ublkbench/doctor_files.hpp"
#include "bench/tools/ublkbench/doctor_io_uring.hpp"
#include "bench/tools/ublkbench/known_kernels.hpp"

namespace ublkbench {
namespace {

using enum CheckStatus;

bool has_capability(unsigned number) {
  const auto mask = system_files().field("/proc/self/status", "CapEff");
  if (!mask) return ::geteuid() == 0;
  const std::uint64_t bits = std::strtoull(mask->c_str(), nullptr, 16);
  return ((bits >> number) & 1) != 0;
}
constexpr unsigned cap_ipc_lock = 14, cap_sys_admin = 21, cap_sys_resource = 24;

/// Root of a user namespace (a rootless container) has capabilities over that namespace only, and
/// capable() in ublk_drv.c and io_uring.c asks for the machine's.
bool in_first_user_namespace() {
  const auto words = split(trimmed(system_files().contents("/proc/self/uid_map")), ' ');
  return words.empty() || words.back() == "4294967295";
}

bool is_privileged() { return has_capability(cap_sys_admin) && in_first_user_namespace(); }

/// 0, or why it cannot be opened.
int control_errnum() {
  const auto control = open_file("/dev/ublk-control", O_RDWR);
  return control ? 0 : control.error().errnum;
}

Finding closed_control(int errnum) {
  const std::string finding =
      formatted("/dev/ublk-control is there, but cannot be opened: {}", std::strerror(errnum));
  if (::geteuid() != 0)
    return {"ublk driver", info, finding,
            "run as root, or see the udev rule in docs/life-cycle.md"};
  return {"ublk driver", fail, finding,
          "root is refused by a container's device rules or a security module: docker run "
          "--privileged -v /dev:/dev, or --device for /dev/ublk-control and the devices"};
}

/// Returns whether it can be talked to.
bool check_driver(Findings& findings) {
  const std::string release = control::kernel_release();
  const auto installed = control::driver_installed("ublk_drv", release);
  const int errnum = control_errnum();
  if (errnum == 0) {
    const bool builtin = installed == control::Installed::builtin ||
                         !system_files().exists("/sys/module/ublk_drv/initstate");
    findings.push_back(
        {"ublk driver", ok, builtin ? "built into the kernel" : "module ublk_drv is loaded", ""});
    return control::driver_present().has_value();
  }
  if (errnum != ENOENT && errnum != ENODEV && errnum != ENXIO) {
    findings.push_back(closed_control(errnum));
    return false;
  }
  const bool loaded = system_files().exists("/sys/class/ublk-char");
  findings.push_back(
      {"ublk driver", fail,
       loaded ? "the driver is there, but /dev/ublk-control is not: this is another /dev"
       : installed == control::Installed::module ? "module ublk_drv is installed but not loaded"
                                                 : "no ublk driver",
       loaded ? "docker run --privileged -v /dev:/dev, or create the node that "
                "/sys/class/misc/ublk-control/dev names"
              : control::load_advice(installed, release, system_files().contents("/proc/version")) +
                    "; or use scripts/vm, which boots a kernel that has it"});
  return false;
}

void check_permission(Findings& findings) {
  if (is_privileged()) {
    findings.push_back({"permission", ok, "CAP_SYS_ADMIN", ""});
    return;
  }
  const bool control_is_open = ::access("/dev/ublk-control", R_OK | W_OK) == 0;
  const bool of_namespace = has_capability(cap_sys_admin);
  findings.push_back(
      {"permission", fail,
       of_namespace ? "CAP_SYS_ADMIN of a user namespace only: the driver refuses ADD_DEV"
                    : "no CAP_SYS_ADMIN: the driver refuses ADD_DEV",
       std::string(of_namespace ? "run as root of the machine (docker: no userns-remap; podman: as "
                                  "root)"
                                : "run as root") +
           (control_is_open ? "; /dev/ublk-control is open to this user, but unprivileged devices "
                              "(UBLK_F_UNPRIVILEGED_DEV) allow no zero copy and are not measured"
                            : "")});
}

void check_features(Findings& findings) {
  const auto granted = control::features();
  if (!granted) {
    findings.push_back(
        {"features", warn, granted.error().message(), "the programs need Linux 6.5 or later"});
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
    missing += formatted("{} ({})", known.name, known.first_kernel);
  }
  findings.push_back(
      {"features", missing.empty() ? ok : info,
       formatted("{} of {} granted ({:#x})", count, all_features().size(), *granted),
       missing.empty() ? "" : "missing, with the first kernel that has it: " + missing});
}

void check_kernel(Findings& findings) {
  const std::string release = control::kernel_release();
  const auto kernel = running_kernel(release, system_files().contents("/proc/version"),
                                     trimmed(system_files().contents("/proc/version_signature")));
  if (!kernel) {
    findings.push_back({"kernel", info, release + ": not a version that could be compared", ""});
    return;
  }
  const KernelVersion& from = kernel->upstream;
  const auto faults = faults_of(*kernel);
  findings.push_back({"kernel", ok,
                      formatted("{} (from {}.{}.{}), {} known fault(s)", release, from.major,
                                from.minor, from.patch, faults.size()),
                      ""});
  for (const KernelFault& fault : faults)
    findings.push_back({"kernel fault", fault.breaks_everything ? fail : warn,
                        formatted("{}: {}", fault.name, fault.finding),
                        formatted("{} [{}]", fault.advice, fault.source)});
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
  const SystemFiles& files = system_files();
  const auto folder = disk_folder(formatted("ublkb{}", id), files.path(""));
  if (!folder) return "no disk";
  constexpr const char* not_shown = "not shown";
  const auto word = [&](const char* name) {
    return files.text(formatted("{}/queue/{}", *folder, name)).value_or(not_shown);
  };
  return formatted("scheduler {}, iostats {}, nomerges {}, nr_requests {}",
                   files.chosen(*folder + "/queue/scheduler").value_or(not_shown), word("iostats"),
                   word("nomerges"), word("nr_requests"));
}

void check_device(Findings& findings, int id) {
  const std::string name = formatted("ublkb{}", id);
  const auto device = control::info(id);
  if (!device) {
    findings.push_back({name, warn, device.error().message(), ""});
    return;
  }
  const std::string state = control::state_name(device->state);
  const auto server = control::server_process(*device);
  const std::string text = formatted("{}, server {}, {}", state, server.text(), queue_settings(id));
  const auto verdict = control::look_at(*device);
  if (verdict.orphan)
    findings.push_back({name, warn, text + "; " + verdict.why, "ublk-server del --orphans"});
  else if (device->state != UBLK_S_DEV_LIVE)
    findings.push_back({name, warn, text,
                        formatted("its server is gone: recover it with its own program, or "
                                  "ublk-server del -n {}",
                                  id)});
  else
    findings.push_back({name, info, text, ""});
}

void check_devices(Findings& findings) {
  const auto ids = control::device_ids();
  if (const auto limit = control::device_limit(); limit && limit->reached())
    findings.push_back({"ublks_max", warn, limit->text(),
                        "an unprivileged ADD_DEV gets EACCES: remove a device, or as root write a "
                        "larger number to " +
                            std::string(control::device_limit_path)});
  if (ids.empty()) findings.push_back({"ublk devices", ok, "none", ""});
  for (const int id : ids) check_device(findings, id);
}

}  // namespace

void check_ublk(Findings& findings) {
  const bool reachable = check_driver(findings);
  check_permission(findings);
  if (reachable) check_features(findings);
  check_kernel(findings);
  check_io_uring(findings, is_privileged());
  check_memlock(findings);
  check_io_flusher(findings);
  if (reachable) check_devices(findings);
}

}  // namespace ublkbench
