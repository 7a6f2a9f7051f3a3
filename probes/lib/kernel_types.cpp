// SPDX-License-Identifier: MIT
#include "probes/lib/kernel_types.hpp"

#include <bpf/btf.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ublkbench::probes {
namespace {

constexpr const char* vmlinux_path = "/sys/kernel/btf/vmlinux";
constexpr const char* driver_path = "/sys/kernel/btf/ublk_drv";

int find(const btf* types, std::string_view name, unsigned kind) {
  return types == nullptr ? -1 : btf__find_by_name_kind(types, std::string(name).c_str(), kind);
}

/// The functions in /proc/kallsyms that are ublk's, by their names: the driver may be built in.
/// Reading it is half of what a probe's start takes, so it is read once.
std::vector<std::string> ublk_symbols() {
  std::vector<std::string> names;
  std::ifstream file("/proc/kallsyms");
  for (std::string line; std::getline(file, line);) {
    if (line.find("ublk_") == std::string::npos) continue;
    std::string address;
    std::string type;
    std::string name;
    std::istringstream(line) >> address >> type >> name;
    if (type == "t" || type == "T") names.push_back(name);
  }
  return names;
}

}  // namespace

void KernelTypes::Free::operator()(btf* types) const { btf__free(types); }

Result<KernelTypes> KernelTypes::load() {
  KernelTypes kernel;
  kernel.vmlinux_.reset(btf__parse(vmlinux_path, nullptr));
  if (!kernel.vmlinux_)
    return failed("read the kernel's types", vmlinux_path, errno,
                  "the probes need a kernel with CONFIG_DEBUG_INFO_BTF");
  if (std::filesystem::exists(driver_path)) {
    kernel.driver_.reset(btf__parse_split(driver_path, kernel.vmlinux_.get()));
    if (!kernel.driver_) return failed("read the driver's types", driver_path, errno);
  } else if (find(kernel.vmlinux_.get(), "ublk_ch_uring_cmd", BTF_KIND_FUNC) < 0) {
    return unsupported("the kernel has no types of the ublk driver (no /sys/kernel/btf/ublk_drv)",
                       "load it (modprobe ublk_drv); its kernel needs "
                       "CONFIG_DEBUG_INFO_BTF_MODULES");
  }
  kernel.driver_symbols_ = ublk_symbols();
  return kernel;
}

bool KernelTypes::has_function(std::string_view name) const {
  return find(driver_.get(), name, BTF_KIND_FUNC) >= 0 ||
         find(vmlinux_.get(), name, BTF_KIND_FUNC) >= 0;
}

bool KernelTypes::has_tracepoint(std::string_view name) const {
  return find(vmlinux_.get(), "btf_trace_" + std::string(name), BTF_KIND_TYPEDEF) >= 0;
}

std::string pick_symbol(std::span<const std::string> symbols, std::string_view pattern) {
  const std::string_view stem = pattern.substr(0, pattern.size() - 2);
  const auto names_it = [stem](std::string_view symbol) {
    if (!symbol.starts_with(stem) || symbol.contains(".cold")) return false;
    return symbol.size() == stem.size() || symbol[stem.size()] == '.';
  };
  const auto found = std::ranges::find_if(symbols, names_it);
  return found == symbols.end() ? std::string() : *found;
}

unsigned KernelTypes::tracepoint_arguments(std::string_view name) const {
  // typedef void (*btf_trace_NAME)(void *__data, ...)
  const btf* const types = vmlinux_.get();
  const int id = find(types, "btf_trace_" + std::string(name), BTF_KIND_TYPEDEF);
  if (id < 0) return 0;
  const btf_type* const pointer =
      btf__type_by_id(types, btf__type_by_id(types, static_cast<unsigned>(id))->type);
  const btf_type* const proto = btf__type_by_id(types, pointer->type);
  return proto == nullptr || !btf_is_func_proto(proto) ? 0 : btf_vlen(proto) - 1U;
}

std::string KernelTypes::driver_symbol(std::string_view pattern) const {
  return pick_symbol(driver_symbols_, pattern);
}

std::string KernelTypes::first_parameter_struct(std::string_view function) const {
  const btf* types = driver_.get();
  int id = find(types, function, BTF_KIND_FUNC);
  if (id < 0) {
    types = vmlinux_.get();
    id = find(types, function, BTF_KIND_FUNC);
  }
  if (id < 0) return {};
  const btf_type* const proto =
      btf__type_by_id(types, btf__type_by_id(types, static_cast<unsigned>(id))->type);
  if (btf_vlen(proto) == 0) return {};
  const int first = btf__resolve_type(types, btf_params(proto)[0].type);
  const btf_type* const type = first < 0 ? nullptr : btf__type_by_id(types, first);
  if (type == nullptr || !btf_is_struct(type)) return {};
  return btf__name_by_offset(types, type->name_off);
}

}  // namespace ublkbench::probes
