// SPDX-License-Identifier: MIT
#include "bench/record/environment.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <set>
#include <sstream>

#include "bench/base/format.hpp"
#include "bench/record/record_codec.hpp"
#include "bench/record/system_files.hpp"
#include "bench/record/tool_identity.hpp"

namespace ublkbench {
namespace {

namespace fs = std::filesystem;

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
  return hash;
}

Shown nothing_if_empty(std::string text) { return text.empty() ? Shown() : Shown(std::move(text)); }

Shown environment_variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? Shown() : nothing_if_empty(value);
}

/// Different values of one file of every CPU, joined: "performance" or "performance powersave".
Shown of_every_cpu(const SystemFiles& files, std::string_view below) {
  std::set<std::string> values;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files.path("/sys/devices/system/cpu"), error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("cpu") || name.find_first_of("0123456789") != 3) continue;
    if (auto value = files.text(formatted("/sys/devices/system/cpu/{}/{}", name, below)))
      values.insert(std::move(*value));
  }
  std::string joined;
  for (const std::string& value : values) joined += (joined.empty() ? "" : " ") + value;
  return nothing_if_empty(joined);
}

KernelFacts kernel_facts(const SystemFiles& files) {
  KernelFacts facts{
      .release = files.text("/proc/sys/kernel/osrelease"),
      .version = files.text("/proc/sys/kernel/version"),
      .build_id = nothing_if_empty(build_id_of_notes(files.contents("/sys/kernel/notes"))),
      .config_digest = {},
      .preempt = files.chosen("/sys/kernel/debug/sched/preempt"),
      .cmdline = comparable_cmdline(files.contents("/proc/cmdline"))};
  for (const std::string& path :
       {std::string("/proc/config.gz"), "/boot/config-" + facts.release.value_or("")}) {
    if (const std::string contents = files.contents(path);
        !facts.config_digest && !contents.empty())
      facts.config_digest = formatted("{:016x}", fnv1a(contents));
  }
  return facts;
}

DriverFacts driver_facts(const SystemFiles& files) {
  const std::string module = "/sys/module/ublk_drv";
  return {.loaded = files.exists(module),
          .srcversion = files.text(module + "/srcversion"),
          .build_id = nothing_if_empty(
              build_id_of_notes(files.contents(module + "/notes/.note.gnu.build-id")))};
}

CpuFacts cpu_facts(const SystemFiles& files) {
  const auto of_first = [&](const char* name) { return files.field("/proc/cpuinfo", name); };
  const std::string cpu = "/sys/devices/system/cpu";
  CpuFacts facts{.vendor_id = of_first("vendor_id"),
                 .family = of_first("cpu family"),
                 .model = of_first("model"),
                 .model_name = of_first("model name"),
                 .stepping = of_first("stepping"),
                 .microcode = of_first("microcode"),
                 .implementer = of_first("CPU implementer"),
                 .part = of_first("CPU part"),
                 .variant = of_first("CPU variant"),
                 .revision = of_first("CPU revision"),
                 .copy_flags = {},
                 .online = files.text(cpu + "/online"),
                 .smt = files.text(cpu + "/smt/control"),
                 .governor = of_every_cpu(files, "cpufreq/scaling_governor"),
                 .frequency_driver = of_every_cpu(files, "cpufreq/scaling_driver"),
                 .no_turbo = files.number(cpu + "/intel_pstate/no_turbo"),
                 .boost = files.number(cpu + "/cpufreq/boost")};
  std::istringstream words(of_first("flags").value_or(""));
  const std::set<std::string> known{std::istream_iterator<std::string>(words), {}};
  for (const char* flag : {"erms", "fsrm", "rep_good"})
    facts.copy_flags[flag] = known.contains(flag);
  return facts;
}

bool has_hypervisor_flag(const SystemFiles& files) {
  const std::string flags = files.field("/proc/cpuinfo", "flags").value_or("");
  return formatted(" {} ", flags).contains(" hypervisor ");
}

std::string accelerator(const SystemFiles& files) {
  if (const Shown named = environment_variable("UBLKBENCH_ACCEL")) return *named;
  if (const auto xen = files.text("/sys/hypervisor/type")) return *xen;
  return has_hypervisor_flag(files) ? "unknown hypervisor" : "none";
}

constexpr const char* host_cpu_variable = "UBLKBENCH_HOST_CPU";

MachineFacts machine_facts(const SystemFiles& files) {
  MachineFacts facts{.accelerator = accelerator(files),
                     .vendor = files.text("/sys/class/dmi/id/sys_vendor"),
                     .product = files.text("/sys/class/dmi/id/product_name"),
                     .qemu_version = environment_variable("UBLKBENCH_QEMU_VERSION"),
                     .qemu_cpu = environment_variable("UBLKBENCH_QEMU_CPU"),
                     .icount_shift = environment_variable("UBLKBENCH_ICOUNT_SHIFT"),
                     .host_cpu = environment_variable(host_cpu_variable)};
  if (facts.icount_shift) facts.host_cpu.reset();
  return facts;
}

std::map<std::string, std::string> vulnerabilities(const SystemFiles& files) {
  constexpr std::string_view folder = "/sys/devices/system/cpu/vulnerabilities";
  std::map<std::string, std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files.path(folder), error)) {
    const std::string name = entry.path().filename().string();
    if (auto state = files.text(formatted("{}/{}", folder, name)))
      found.emplace(name, std::move(*state));
  }
  return found;
}

EnvironmentKey key_of(const SystemFiles& files) {
  utsname names{};
  ::uname(&names);
  const ToolIdentity& tool = tool_identity();
  return {
      .arch = names.machine,
      .kernel = kernel_facts(files),
      .ublk_driver = driver_facts(files),
      .cpu = cpu_facts(files),
      .machine = machine_facts(files),
      .vulnerabilities = vulnerabilities(files),
      .clocksource = files.text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
      .build = {.compiler = tool.compiler, .flags = tool.flags, .build_type = tool.build_type}};
}

ShownNumber stolen_ticks(const SystemFiles& files) {
  std::istringstream words(files.contents("/proc/stat"));
  std::string label;
  std::array<std::int64_t, 8> ticks{};  // user nice system idle iowait irq softirq steal
  words >> label;
  for (std::int64_t& tick : ticks) words >> tick;
  return words ? ShownNumber(ticks.back()) : std::nullopt;
}

std::map<std::string, std::int64_t> temperatures(const SystemFiles& files) {
  std::map<std::string, std::int64_t> zones;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files.path("/sys/class/thermal"), error)) {
    const std::string name = entry.path().filename().string();
    const auto value = files.number(formatted("/sys/class/thermal/{}/temp", name));
    if (name.starts_with("thermal_zone") && value) zones.emplace(name, *value);
  }
  return zones;
}

ShownNumber memory_bytes(const SystemFiles& files, std::string_view field) {
  const auto text = files.field("/proc/meminfo", field);  // "4028032 kB"
  return text ? ShownNumber(std::strtoll(text->c_str(), nullptr, 10) * 1024) : std::nullopt;
}

EnvironmentNotes notes_of(const SystemFiles& files) {
  return {.hostname = files.text("/proc/sys/kernel/hostname"),
          .host_cpu = environment_variable(host_cpu_variable),
          .captured_unix_s = std::time(nullptr),
          .load_average = files.text("/proc/loadavg"),
          .uptime = files.text("/proc/uptime"),
          .stolen_ticks = stolen_ticks(files),
          .memory_total_bytes = memory_bytes(files, "MemTotal"),
          .memory_available_bytes = memory_bytes(files, "MemAvailable"),
          .frequency_khz = of_every_cpu(files, "cpufreq/scaling_cur_freq"),
          .temperature_millicelsius = temperatures(files),
          .transparent_hugepages = files.chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
          .default_irq_affinity = files.text("/proc/irq/default_smp_affinity"),
          .ublk_driver_refcnt = files.number("/sys/module/ublk_drv/refcnt")};
}

/// Command line words that do not change what is measured. The prefix ends with '=' where only the
/// value is of no interest, else the whole word must match.
constexpr std::array uninteresting_words{
    "BOOT_IMAGE=", "root=",     "rootfstype=", "rootflags=", "initrd=",
    "init=",       "resume=",   "console=",    "earlycon=",  "panic=",
    "oops=",       "loglevel=", "systemd.",    "rd.",        "quiet",
    "splash",      "ro",        "rw",          "debug",      "ignore_loglevel"};

bool is_uninteresting(std::string_view word) {
  return std::ranges::any_of(uninteresting_words, [&](std::string_view known) {
    const bool is_prefix = known.ends_with('=') || known.ends_with('.');
    return is_prefix ? word.starts_with(known) : word == known;
  });
}

}  // namespace

std::string comparable_cmdline(std::string_view cmdline) {
  std::istringstream words{std::string(cmdline)};
  std::string kept;
  for (std::string word; words >> word;)
    if (!is_uninteresting(word)) kept += (kept.empty() ? "" : " ") + word;
  return kept;
}

std::string build_id_of_notes(std::string_view notes) {
  constexpr std::uint32_t build_id_type = 3;  // NT_GNU_BUILD_ID
  struct Header {
    std::uint32_t name_bytes, descriptor_bytes, type;
  };
  const auto padded = [](std::size_t bytes) { return (bytes + 3) & ~std::size_t{3}; };
  while (notes.size() >= sizeof(Header)) {
    Header header{};
    std::memcpy(&header, notes.data(), sizeof(header));
    notes.remove_prefix(sizeof(header));
    const std::size_t name_bytes = padded(header.name_bytes);
    const std::size_t descriptor_bytes = padded(header.descriptor_bytes);
    if (name_bytes > notes.size() || header.descriptor_bytes > notes.size() - name_bytes) return {};
    const std::string_view name = notes.substr(0, header.name_bytes);
    if (header.type == build_id_type && name == std::string_view("GNU\0", 4)) {
      std::string hex;
      for (const char byte : notes.substr(name_bytes, header.descriptor_bytes))
        hex += formatted("{:02x}", static_cast<unsigned char>(byte));
      return hex;
    }
    notes.remove_prefix(std::min(notes.size(), name_bytes + descriptor_bytes));
  }
  return {};
}

std::string environment_key(std::string_view json) { return formatted("{:016x}", fnv1a(json)); }

Environment capture_environment(const std::string& root) {
  const SystemFiles files(root);
  Environment environment{.key = {}, .key_fields = key_of(files), .noted = notes_of(files)};
  environment.key = environment_key(record_text(environment.key_fields));
  return environment;
}

}  // namespace ublkbench
