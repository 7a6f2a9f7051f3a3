// SPDX-License-Identifier: MIT
// Where a probe attaches. The driver has no tracepoints, and its functions differ between kernels;
// so a probe lists for each thing that it wants to know the ways to learn it, best first, and says
// which one it used and what it cannot see without.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/record/probe_document.hpp"
#include "probes/lib/kernel_types.hpp"

struct bpf_object;

namespace ublkbench::probes {

/// The system call's function has another name on each architecture.
#if defined(__x86_64__)
inline constexpr const char* enter_function = "__x64_sys_io_uring_enter";
#elif defined(__aarch64__)
inline constexpr const char* enter_function = "__arm64_sys_io_uring_enter";
#else
inline constexpr const char* enter_function = "__do_sys_io_uring_enter";
#endif

struct Hook {
  enum class Kind {
    entry,       ///< the call of a function, of which the object's program "entry" hears
    leave,       ///< its return, of which "leave" hears
    traced,      ///< its call (fentry) or return (fexit), of which a program of its own hears
    tracepoint,  ///< tp_btf; the program has its name
  };
  Kind kind;
  const char* target;   ///< the function or tracepoint; "name.*": or what the compiler made of it
  const char* program;  ///< of the BPF object
  unsigned event = 0;   ///< that "entry" or "leave" takes it for
  /// The struct that the function takes first, by value; the function is another one without it.
  const char* first_parameter = "";
  /// How many arguments the tracepoint has; 0: any.
  unsigned arguments = 0;
};

constexpr Hook call_of(const char* function, unsigned event, const char* first_parameter = "") {
  return {Hook::Kind::entry, function, "entry", event, first_parameter};
}
constexpr Hook return_of(const char* function, unsigned event = 0) {
  return {Hook::Kind::leave, function, "leave", event};
}
/// Costs half of what call_of() does, and a fourth of a kretprobe.multi at a return; but the kernel
/// skips a program that was preempted on this CPU, which `missed_runs` counts.
constexpr Hook traced(const char* function, const char* program) {
  return {Hook::Kind::traced, function, program};
}
constexpr Hook tracepoint(const char* name, const char* program, unsigned arguments = 0) {
  return {Hook::Kind::tracepoint, name, program, 0, "", arguments};
}

/// One of the functions that "entry" or "leave" is attached to.
struct EntryHook {
  std::string symbol;
  std::uint64_t event;
};

struct Way {
  std::vector<Hook> hooks;  ///< all of them are needed
  const char* remark = "";  ///< what this way cannot see, or what it costs
};

struct Role {
  std::string_view name;
  /// Best first, and the last is the most general; but for a way with some of an earlier one's
  /// hooks only, which is for kernels that lack the others.
  std::vector<Way> ways;
  const char* without = "";  ///< what is missing where no way is there
  bool required = false;
};

/// What was chosen, for the record, too.
struct ChosenHooks : probed::Attachment {
  [[nodiscard]] bool uses(std::string_view target) const;
  /// Whether the role has a way on this kernel.
  [[nodiscard]] bool has(std::string_view role) const;

  std::vector<EntryHook> entries;  ///< one link for all: each link patches the kernel anew
  std::vector<EntryHook> returns;
};

/// Tells the BPF side's entries.bpf.h, by its skeleton's read-only data.
template <class Rodata>
void listen(Rodata& rodata, const ChosenHooks& hooks) {
  for (const EntryHook& entry : hooks.entries) rodata.heard_events[entry.event] = true;
}

enum class Preference { cheapest, most_general };

/// The first way of which all hooks are there, or the most general one; null if there is none.
const Way* best_way(const Role& role, Preference preference,
                    const std::function<bool(const Hook&)>& there);

/// Enables the programs of the best way of each role, and only those.
Result<ChosenHooks> choose_hooks(const std::vector<Role>& roles, const KernelTypes& kernel,
                                 Preference preference, bpf_object* object);

}  // namespace ublkbench::probes
