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
#include "bench/base/json_text.hpp"
#include "bench/record/block_queue.hpp"
#include "bench/record/system_files.hpp"
#include "bench/record/system_json.hpp"
#include "bench/record/tool_identity.hpp"
#include "bench/record/write_fields.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
  return hash;
}

json null_if_empty(std::string text) { return text.empty() ? json() : json(std::move(text)); }

json environment_variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr || *value == '\0' ? json() : json(value);
}

/// Different values of one file of every CPU, joined: "performance" or "performance powersave".
json of_every_cpu(const SystemFiles& files, std::string_view below) {
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
  return null_if_empty(joined);
}

json kernel_fields(const SystemFiles& files) {
  json config = nullptr;
  const auto release = files.text("/proc/sys/kernel/osrelease");
  for (const std::string& path :
       {std::string("/proc/config.gz"), "/boot/config-" + release.value_or("")}) {
    if (const std::string contents = files.contents(path); config.is_null() && !contents.empty())
      config = formatted("{:016x}", fnv1a(contents));
  }
  return {{"release", text_json(release)},
          {"version", text_json(files.text("/proc/sys/kernel/version"))},
          {"build_id", null_if_empty(build_id_of_notes(files.contents("/sys/kernel/notes")))},
          {"config_digest", config},
          {"preempt", text_json(files.chosen("/sys/kernel/debug/sched/preempt"))},
          {"cmdline", comparable_cmdline(files.contents("/proc/cmdline"))}};
}

json ublk_driver_fields(const SystemFiles& files) {
  const std::string module = "/sys/module/ublk_drv";
  return {{"loaded", files.exists(module)},
          {"srcversion", text_json(files.text(module + "/srcversion"))},
          {"build_id",
           null_if_empty(build_id_of_notes(files.contents(module + "/notes/.note.gnu.build-id")))}};
}

json cpu_fields(const SystemFiles& files) {
  json fields;
  for (const char* name :
       {"vendor_id", "cpu family", "model", "model name", "stepping", "microcode",
        "CPU implementer", "CPU part", "CPU variant", "CPU revision"})
    if (const auto value = files.field("/proc/cpuinfo", name)) fields[name] = *value;
  // What decides how the kernel copies: arch/x86/lib/copy_user_64.S, memcpy_64.S.
  std::istringstream words(files.field("/proc/cpuinfo", "flags").value_or(""));
  const std::set<std::string> known{std::istream_iterator<std::string>(words), {}};
  json copying = json::object();
  for (const char* flag : {"erms", "fsrm", "rep_good"}) copying[flag] = known.contains(flag);
  fields["copy_flags"] = copying;
  fields["online"] = text_json(files.text("/sys/devices/system/cpu/online"));
  fields["smt"] = text_json(files.text("/sys/devices/system/cpu/smt/control"));
  fields["governor"] = of_every_cpu(files, "cpufreq/scaling_governor");
  fields["frequency_driver"] = of_every_cpu(files, "cpufreq/scaling_driver");
  fields["no_turbo"] = value_json(files.text("/sys/devices/system/cpu/intel_pstate/no_turbo"));
  fields["boost"] = value_json(files.text("/sys/devices/system/cpu/cpufreq/boost"));
  return fields;
}

bool has_hypervisor_flag(const SystemFiles& files) {
  const std::string flags = files.field("/proc/cpuinfo", "flags").value_or("");
  return formatted(" {} ", flags).contains(" hypervisor ");
}

json accelerator(const SystemFiles& files) {
  if (json named = environment_variable("UBLKBENCH_ACCEL"); !named.is_null()) return named;
  if (const auto xen = files.text("/sys/hypervisor/type")) return *xen;
  return has_hypervisor_flag(files) ? "unknown hypervisor" : "none";
}

constexpr const char* host_cpu_variable = "UBLKBENCH_HOST_CPU";

/// Under QEMU's -icount the host decides how long a run takes and nothing that it measures.
bool counts_instructions() { return !environment_variable("UBLKBENCH_ICOUNT_SHIFT").is_null(); }

json machine_fields(const SystemFiles& files) {
  return {{"accelerator", accelerator(files)},
          {"vendor", text_json(files.text("/sys/class/dmi/id/sys_vendor"))},
          {"product", text_json(files.text("/sys/class/dmi/id/product_name"))},
          {"qemu_version", environment_variable("UBLKBENCH_QEMU_VERSION")},
          {"qemu_cpu", environment_variable("UBLKBENCH_QEMU_CPU")},
          {"icount_shift", environment_variable("UBLKBENCH_ICOUNT_SHIFT")},
          {"host_cpu", counts_instructions() ? json() : environment_variable(host_cpu_variable)}};
}

json vulnerability_fields(const SystemFiles& files) {
  constexpr std::string_view folder = "/sys/devices/system/cpu/vulnerabilities";
  json fields = json::object();
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files.path(folder), error)) {
    const std::string name = entry.path().filename().string();
    fields[name] = text_json(files.text(formatted("{}/{}", folder, name)));
  }
  return fields;
}

/// How the programs were compiled. Their commit is not here: it is what two runs are compared for.
json build_fields() {
  const ToolIdentity& tool = tool_identity();
  return {{"compiler", tool.compiler}, {"flags", tool.flags}, {"build_type", tool.build_type}};
}

json key_fields(const SystemFiles& files, const std::string& block_device) {
  utsname names{};
  ::uname(&names);
  json fields = {
      {"arch", names.machine},
      {"kernel", kernel_fields(files)},
      {"ublk_driver", ublk_driver_fields(files)},
      {"cpu", cpu_fields(files)},
      {"machine", machine_fields(files)},
      {"vulnerabilities", vulnerability_fields(files)},
      {"clocksource",
       text_json(files.text("/sys/devices/system/clocksource/clocksource0/current_clocksource"))},
      {"build", build_fields()}};
  if (!block_device.empty())
    fields["queue"] = json_writing::json_of(queue_limits(block_device, files.path("")));
  return fields;
}

json stolen_ticks(const SystemFiles& files) {
  std::istringstream words(files.contents("/proc/stat"));
  std::string label;
  std::array<std::uint64_t, 8> ticks{};  // user nice system idle iowait irq softirq steal
  words >> label;
  for (std::uint64_t& tick : ticks) words >> tick;
  return words ? json(ticks.back()) : json();
}

json temperatures(const SystemFiles& files) {
  json zones = json::object();
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files.path("/sys/class/thermal"), error)) {
    const std::string name = entry.path().filename().string();
    const json value = value_json(files.text(formatted("/sys/class/thermal/{}/temp", name)));
    if (name.starts_with("thermal_zone") && !value.is_null()) zones[name] = value;
  }
  return zones;
}

json memory_bytes(const SystemFiles& files, std::string_view field) {
  const auto text = files.field("/proc/meminfo", field);  // "4028032 kB"
  return text ? json(std::strtoull(text->c_str(), nullptr, 10) * 1024) : json();
}

json noted_fields(const SystemFiles& files) {
  return {{"hostname", text_json(files.text("/proc/sys/kernel/hostname"))},
          {"host_cpu", environment_variable(host_cpu_variable)},
          {"captured_unix_s", std::time(nullptr)},
          {"load_average", text_json(files.text("/proc/loadavg"))},
          {"uptime", text_json(files.text("/proc/uptime"))},
          {"stolen_ticks", stolen_ticks(files)},
          {"memory_total_bytes", memory_bytes(files, "MemTotal")},
          {"memory_available_bytes", memory_bytes(files, "MemAvailable")},
          {"frequency_khz", of_every_cpu(files, "cpufreq/scaling_cur_freq")},
          {"temperature_millicelsius", temperatures(files)},
          {"transparent_hugepages",
           text_json(files.chosen("/sys/kernel/mm/transparent_hugepage/enabled"))},
          {"default_irq_affinity", text_json(files.text("/proc/irq/default_smp_affinity"))},
          {"ublk_driver_refcnt", value_json(files.text("/sys/module/ublk_drv/refcnt"))}};
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

std::string environment_key(const json& key_fields) {
  return formatted("{:016x}", fnv1a(json_text(key_fields)));
}

json capture_environment(const std::string& block_device, const std::string& root) {
  const SystemFiles files(root);
  const json fields = key_fields(files, block_device);
  return {{"key", environment_key(fields)}, {"key_fields", fields}, {"noted", noted_fields(files)}};
}

}  // namespace ublkbench
