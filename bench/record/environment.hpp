// SPDX-License-Identifier: MIT
// On what a figure was measured: what must be equal for two figures to be comparable (the key), and
// what is worth knowing (noted). What this machine does not show is empty, and null in records.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "bench/record/fields.hpp"

namespace ublkbench {

/// Of a small file of the kernel or of a variable of the environment.
using Shown = std::optional<std::string>;
using ShownNumber = std::optional<std::int64_t>;

struct KernelFacts {
  Shown release;
  Shown version;
  Shown build_id;       ///< of vmlinux, in hex
  Shown config_digest;  ///< FNV-1a of its configuration
  Shown preempt;
  std::string cmdline;  ///< see comparable_cmdline()

  static constexpr auto fields() {
    using K = KernelFacts;
    return std::tuple(nullable("release", &K::release), nullable("version", &K::version),
                      nullable("build_id", &K::build_id),
                      nullable("config_digest", &K::config_digest),
                      nullable("preempt", &K::preempt), field("cmdline", &K::cmdline));
  }
};

struct DriverFacts {
  bool loaded = false;
  Shown srcversion;
  Shown build_id;

  static constexpr auto fields() {
    using D = DriverFacts;
    return std::tuple(field("loaded", &D::loaded), nullable("srcversion", &D::srcversion),
                      nullable("build_id", &D::build_id));
  }
};

struct CpuFacts {
  // Of /proc/cpuinfo: an architecture has some of these.
  Shown vendor_id;
  Shown family;
  Shown model;
  Shown model_name;
  Shown stepping;
  Shown microcode;
  Shown implementer;
  Shown part;
  Shown variant;
  Shown revision;
  /// What decides how the kernel copies: arch/x86/lib/copy_user_64.S, memcpy_64.S.
  std::map<std::string, bool> copy_flags;
  Shown online;
  Shown smt;
  Shown governor;  ///< of all CPUs, "performance powersave" where they differ
  Shown frequency_driver;
  ShownNumber no_turbo;
  ShownNumber boost;

  static constexpr auto fields() {
    using C = CpuFacts;
    return std::tuple(field("vendor_id", &C::vendor_id), field("cpu family", &C::family),
                      field("model", &C::model), field("model name", &C::model_name),
                      field("stepping", &C::stepping), field("microcode", &C::microcode),
                      field("CPU implementer", &C::implementer), field("CPU part", &C::part),
                      field("CPU variant", &C::variant), field("CPU revision", &C::revision),
                      field("copy_flags", &C::copy_flags), nullable("online", &C::online),
                      nullable("smt", &C::smt), nullable("governor", &C::governor),
                      nullable("frequency_driver", &C::frequency_driver),
                      nullable("no_turbo", &C::no_turbo), nullable("boost", &C::boost));
  }
};

struct MachineFacts {
  std::string accelerator;  ///< "kvm", "tcg", "none", "unknown hypervisor"
  Shown vendor;
  Shown product;
  Shown qemu_version;
  Shown qemu_cpu;
  Shown icount_shift;
  Shown host_cpu;  ///< not under icount, where it decides nothing that is measured

  static constexpr auto fields() {
    using M = MachineFacts;
    return std::tuple(field("accelerator", &M::accelerator), nullable("vendor", &M::vendor),
                      nullable("product", &M::product), nullable("qemu_version", &M::qemu_version),
                      nullable("qemu_cpu", &M::qemu_cpu),
                      nullable("icount_shift", &M::icount_shift),
                      nullable("host_cpu", &M::host_cpu));
  }
};

/// How the programs were compiled. Their commit is not here: it is what two runs are compared for.
struct BuildFacts {
  std::string compiler;
  std::string flags;
  std::string build_type;

  static constexpr auto fields() {
    using B = BuildFacts;
    return std::tuple(field("compiler", &B::compiler), field("flags", &B::flags),
                      field("build_type", &B::build_type));
  }
};

/// What must be equal. Nothing that is measured or that changes by itself is here (frequencies,
/// load, names).
struct EnvironmentKey {
  std::string arch;
  KernelFacts kernel;
  DriverFacts ublk_driver;
  CpuFacts cpu;
  MachineFacts machine;
  std::map<std::string, std::string> vulnerabilities;
  Shown clocksource;
  BuildFacts build;

  static constexpr auto fields() {
    using K = EnvironmentKey;
    return std::tuple(field("arch", &K::arch), field("kernel", &K::kernel),
                      field("ublk_driver", &K::ublk_driver), field("cpu", &K::cpu),
                      field("machine", &K::machine), field("vulnerabilities", &K::vulnerabilities),
                      nullable("clocksource", &K::clocksource), field("build", &K::build));
  }
};

struct EnvironmentNotes {
  Shown hostname;
  Shown host_cpu;
  std::int64_t captured_unix_s = 0;
  Shown load_average;
  Shown uptime;
  ShownNumber stolen_ticks;
  ShownNumber memory_total_bytes;
  ShownNumber memory_available_bytes;
  Shown frequency_khz;  ///< of all CPUs
  std::map<std::string, std::int64_t> temperature_millicelsius;
  Shown transparent_hugepages;
  Shown default_irq_affinity;
  ShownNumber ublk_driver_refcnt;

  static constexpr auto fields() {
    using N = EnvironmentNotes;
    return std::tuple(nullable("hostname", &N::hostname), nullable("host_cpu", &N::host_cpu),
                      field("captured_unix_s", &N::captured_unix_s),
                      nullable("load_average", &N::load_average), nullable("uptime", &N::uptime),
                      nullable("stolen_ticks", &N::stolen_ticks),
                      nullable("memory_total_bytes", &N::memory_total_bytes),
                      nullable("memory_available_bytes", &N::memory_available_bytes),
                      nullable("frequency_khz", &N::frequency_khz),
                      field("temperature_millicelsius", &N::temperature_millicelsius),
                      nullable("transparent_hugepages", &N::transparent_hugepages),
                      nullable("default_irq_affinity", &N::default_irq_affinity),
                      nullable("ublk_driver_refcnt", &N::ublk_driver_refcnt));
  }
};

struct Environment {
  std::string key;  ///< a hash of key_fields as JSON: 16 hex digits
  EnvironmentKey key_fields;
  EnvironmentNotes noted;

  static constexpr auto fields() {
    using E = Environment;
    return std::tuple(field("key", &E::key), field("key_fields", &E::key_fields),
                      field("noted", &E::noted));
  }
};

/// `root` is put before every path that is read (for tests).
Environment capture_environment(const std::string& root = {});

/// The hash that names a set of key fields, of their JSON: the same on every machine.
std::string environment_key(std::string_view json);

/// The kernel's command line without words that say where things are and how much is printed.
std::string comparable_cmdline(std::string_view cmdline);

/// The build id in hex from ELF notes (/sys/kernel/notes); empty if there is none.
std::string build_id_of_notes(std::string_view notes);

}  // namespace ublkbench
