// SPDX-License-Identifier: MIT
#include "probes/lib/hooks.hpp"

#include <bpf/libbpf.h>

#include <algorithm>
#include <functional>
#include <ranges>
#include <string>

#include "bench/base/format.hpp"

namespace ublkbench::probes {
namespace {

bool is_pattern(const Hook& hook) { return std::string_view(hook.target).ends_with(".*"); }

bool there(const Hook& hook, const KernelTypes& kernel) {
  if (hook.kind == Hook::Kind::tracepoint)
    return kernel.has_tracepoint(hook.target) &&
           (hook.arguments == 0 || kernel.tracepoint_arguments(hook.target) == hook.arguments);
  if (is_pattern(hook)) return !kernel.driver_symbol(hook.target).empty();
  if (!kernel.has_function(hook.target)) return false;
  return *hook.first_parameter == '\0' ||
         kernel.first_parameter_struct(hook.target) == hook.first_parameter;
}

bool same(const Hook& one, const Hook& other) {
  return one.kind == other.kind && one.event == other.event &&
         std::string_view(one.target) == other.target &&
         std::string_view(one.program) == other.program;
}

/// Whether `way` is what is left of `whole` on a kernel that lacks the rest of it.
bool is_part_of(const Way& way, const Way& whole) {
  return std::ranges::all_of(way.hooks, [&](const Hook& hook) {
    return std::ranges::any_of(whole.hooks, [&](const Hook& other) { return same(hook, other); });
  });
}

Result<> enable(const Hook& hook, const KernelTypes& kernel, bpf_object* object,
                ChosenHooks& chosen) {
  bpf_program* const program = bpf_object__find_program_by_name(object, hook.program);
  if (program == nullptr) return failed("find the BPF program", hook.program, ENOENT);
  bpf_program__set_autoload(program, true);
  const EntryHook function{is_pattern(hook) ? kernel.driver_symbol(hook.target) : hook.target,
                           hook.event};
  if (hook.kind == Hook::Kind::entry) chosen.entries.push_back(function);
  if (hook.kind == Hook::Kind::leave) chosen.returns.push_back(function);
  if (hook.kind == Hook::Kind::traced)
    if (const int ret = bpf_program__set_attach_target(program, 0, hook.target); ret != 0)
      return failed("aim the BPF program at", hook.target, -ret);
  return {};
}

}  // namespace

const Way* best_way(const Role& role, Preference preference,
                    const std::function<bool(const Hook&)>& there) {
  const Way* best = nullptr;
  for (const Way& way : role.ways) {
    if (!std::ranges::all_of(way.hooks, there) || (best != nullptr && is_part_of(way, *best)))
      continue;
    best = &way;
    if (preference == Preference::cheapest) break;
  }
  return best;
}

bool ChosenHooks::uses(std::string_view target) const {
  return std::ranges::any_of(
      used, [&](const probed::UsedHooks& one) { return std::ranges::contains(one.hooks, target); });
}

bool ChosenHooks::has(std::string_view role) const {
  return std::ranges::contains(used, role, &probed::UsedHooks::role);
}

Result<ChosenHooks> choose_hooks(const std::vector<Role>& roles, const KernelTypes& kernel,
                                 Preference preference, bpf_object* object) {
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr)
    bpf_program__set_autoload(program, false);
  ChosenHooks chosen;
  for (const Role& role : roles) {
    const Way* const way =
        best_way(role, preference, [&](const Hook& hook) { return there(hook, kernel); });
    if (way == nullptr) {
      if (role.required)
        return unsupported(formatted("this kernel has nothing to attach to for '{}'", role.name),
                           role.without);
      chosen.unavailable.push_back({std::string(role.name), role.without});
      continue;
    }
    probed::UsedHooks used{.role = std::string(role.name), .hooks = {}, .remark = {}};
    if (*way->remark != '\0') used.remark = way->remark;
    for (const Hook& hook : way->hooks) {
      if (auto enabled = enable(hook, kernel, object, chosen); !enabled)
        return std::unexpected(enabled.error());
      // A function's call and its return are one name.
      if (!std::ranges::contains(used.hooks, hook.target)) used.hooks.emplace_back(hook.target);
    }
    chosen.used.push_back(std::move(used));
  }
  return chosen;
}

}  // namespace ublkbench::probes
