// SPDX-License-Identifier: MIT
#include "bench/control/driver_advice.hpp"

#include <sys/utsname.h>

#include <fstream>
#include <iterator>
#include <utility>

#include "bench/base/format.hpp"

namespace ublkbench::control {

std::string kernel_release() {
  utsname names{};
  ::uname(&names);
  return names.release;
}

Installed driver_installed(std::string_view driver, std::string_view release) {
  for (const auto& [list, kind] :
       {std::pair{"modules.builtin", Installed::builtin}, {"modules.dep", Installed::module}}) {
    std::ifstream lines(formatted("/lib/modules/{}/{}", release, list));
    for (std::string line; std::getline(lines, line);)
      if (line.contains(formatted("/{}.ko", driver))) return kind;
  }
  return Installed::no;
}

std::string load_advice(Installed installed, std::string_view release,
                        std::string_view proc_version) {
  if (installed == Installed::module)
    return "the module is installed; load it as root: modprobe ublk_drv";
  // Ubuntu's kernels, those of the clouds above all, have it in a package of its own.
  if (proc_version.contains("Ubuntu"))
    return formatted(
        "Ubuntu has it in another package: apt install linux-modules-extra-{} && modprobe ublk_drv",
        release);
  if (proc_version.contains("Debian") && release.contains("cloud"))
    return "Debian's cloud kernels before 7.0 have none: boot linux-image-amd64 and modprobe "
           "ublk_drv";
  return "this kernel has none: boot Linux 6.5 or later with CONFIG_BLK_DEV_UBLK";
}

std::string missing_driver_advice() {
  const std::string release = kernel_release();
  std::ifstream file("/proc/version");
  const std::string version(std::istreambuf_iterator<char>(file), {});
  return formatted(
      "no ublk driver\n"
      "  {}\n"
      "  or run in a guest that has it: scripts/vm bench, scripts/vm run -- COMMAND\n"
      "  more about this machine: ublkbench doctor",
      load_advice(driver_installed("ublk_drv", release), release, version));
}

}  // namespace ublkbench::control
