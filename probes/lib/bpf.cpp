// SPDX-License-Identifier: MIT
#include "probes/lib/bpf.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <sys/utsname.h>

#include <cstdarg>
#include <cstdio>
#include <string>
#include <utility>

#include "bench/base/first_line.hpp"
#include "bench/base/format.hpp"

namespace ublkbench::probes {
namespace {

std::string last_complaint;  // of libbpf; its callback has no user data

int keep_complaint(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[512];
  std::vsnprintf(line, sizeof(line), format, arguments);
  const std::string text(line);
  // The verifier's log is pages long; what it was about is in the lines around it.
  if (text.find("BEGIN PROG LOAD LOG") != std::string::npos) return 0;
  last_complaint = text.substr(0, text.find('\n'));
  if (last_complaint.starts_with("libbpf: ")) last_complaint.erase(0, 8);
  return 0;
}

int print_all(libbpf_print_level level, const char* format, va_list arguments) {
  return level == LIBBPF_DEBUG ? 0 : std::vfprintf(stderr, format, arguments);
}

/// "confidentiality", "integrity", or empty.
std::string lockdown() {
  const std::string text = first_line("/sys/kernel/security/lockdown");
  const std::size_t open = text.find('[');
  const std::string word =
      open == std::string::npos ? "" : text.substr(open + 1, text.find(']') - open - 1);
  return word == "none" ? "" : word;
}

std::string hint_for(int errnum) {
  if (const std::string word = lockdown(); !word.empty() && (errnum == EPERM || errnum == EINVAL))
    return formatted("the kernel is locked down ({}); boot without lockdown=", word);
  if (errnum == EPERM)
    return "run as root (the probes need CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN)";
  return last_complaint.empty() ? "UBLK_PROBE_DEBUG=1 shows what libbpf says" : last_complaint;
}

}  // namespace

void quiet_libbpf() {
  const char* const debug = std::getenv("UBLK_PROBE_DEBUG");
  libbpf_set_print(debug != nullptr && *debug != '\0' ? print_all : keep_complaint);
}

void DestroyLink::operator()(bpf_link* link) const { bpf_link__destroy(link); }

Result<Links> load_and_attach(bpf_object_skeleton* skeleton, const std::string& probe,
                              const ChosenHooks& hooks) {
  last_complaint.clear();
  if (const int ret = bpf_object__load_skeleton(skeleton); ret != 0)
    return failed("load the BPF programs of probe", probe, -ret, hint_for(-ret));
  Links links;
  for (auto [program, functions] :
       {std::pair("entry", &hooks.entries), std::pair("leave", &hooks.returns)}) {
    if (functions->empty()) continue;
    std::vector<const char*> symbols;
    std::vector<__u64> events;
    for (const EntryHook& function : *functions) {
      symbols.push_back(function.symbol.c_str());
      events.push_back(function.event);
    }
    LIBBPF_OPTS(bpf_kprobe_multi_opts, options);
    options.syms = symbols.data();
    options.cnt = symbols.size();
    options.retprobe = functions == &hooks.returns;
    options.cookies = events.data();
    links.emplace_back(bpf_program__attach_kprobe_multi_opts(
        bpf_object__find_program_by_name(*skeleton->obj, program), nullptr, &options));
    if (!links.back())
      return failed(
          "attach to the kernel's functions the probe", probe, errno,
          errno == EOPNOTSUPP ? "the probe needs a kernel with CONFIG_FPROBE" : hint_for(errno));
  }
  if (const int ret = bpf_object__attach_skeleton(skeleton); ret != 0) {
    bpf_object__detach_skeleton(skeleton);
    return failed("attach the BPF programs of probe", probe, -ret, hint_for(-ret));
  }
  return links;
}

bool kernel_can_peek() {
  utsname kernel{};
  unsigned major = 0;
  unsigned minor = 0;
  if (::uname(&kernel) != 0 || std::sscanf(kernel.release, "%u.%u", &major, &minor) != 2)
    return false;
  return major > 6 || (major == 6 && minor >= 17);
}

std::uint64_t missed_runs(bpf_object* object, const Links& links) {
  std::uint64_t missed = 0;
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    bpf_prog_info info{};
    __u32 bytes = sizeof(info);
    if (bpf_program__fd(program) >= 0 &&
        bpf_prog_get_info_by_fd(bpf_program__fd(program), &info, &bytes) == 0)
      missed += info.recursion_misses;
  }
  for (const auto& link : links) {
    bpf_link_info info{};
    __u32 bytes = sizeof(info);
    if (bpf_link_get_info_by_fd(bpf_link__fd(link.get()), &info, &bytes) == 0)
      missed += info.kprobe_multi.missed;
  }
  return missed;
}

Result<unsigned> possible_cpus() {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return failed("count", "the possible CPUs", -cpus);
  return static_cast<unsigned>(cpus);
}

Result<> read_element(const bpf_map* map, unsigned index, void* value, std::size_t bytes) {
  const int ret = bpf_map__lookup_elem(map, &index, sizeof(index), value, bytes, 0);
  if (ret != 0) return failed("read the BPF map", bpf_map__name(map), -ret);
  return {};
}

bool next_key(const bpf_map* map, const void* previous, void* key, std::size_t bytes) {
  return bpf_map__get_next_key(map, previous, key, bytes) == 0;
}

bool look_up(const bpf_map* map, const void* key, std::size_t key_bytes, void* value,
             std::size_t value_bytes) {
  return bpf_map__lookup_elem(map, key, key_bytes, value, value_bytes, 0) == 0;
}

}  // namespace ublkbench::probes
