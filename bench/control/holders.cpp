// SPDX-License-Identifier: MIT
#include "bench/control/holders.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>

#include "bench/base/fd.hpp"
#include "bench/base/first_line.hpp"
#include "bench/base/format.hpp"

namespace ublkbench::control {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view deleted = " (deleted)";
// PROC_PID_INIT_INO of include/linux/proc_ns.h.
constexpr std::string_view first_pid_namespace = "pid:[4026531836]";

std::optional<pid_t> number(std::string_view text) {
  pid_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string read_link(const std::string& path) {
  char text[4096];
  const ssize_t length = ::readlink(path.c_str(), text, sizeof(text));
  return length > 0 ? std::string(text, static_cast<std::size_t>(length)) : std::string();
}

std::string name_of(pid_t pid) { return first_line(formatted("/proc/{}/comm", pid)); }

/// A node of a ublk device as a link in /proc/PID/fd names it. Of a node in another mount
/// namespace the folder may be missing or another one, so only the last part counts.
struct Node {
  char kind = 0;  ///< 'b' or 'c'
  int id = -1;
  bool removed = false;
};

std::optional<Node> parse_node(std::string_view link) {
  Node node;
  if (link.ends_with(deleted)) {
    node.removed = true;
    link.remove_suffix(deleted.size());
  }
  link.remove_prefix(link.rfind('/') + 1);
  if (!link.starts_with("ublk") || link.size() < 6) return std::nullopt;
  node.kind = link[4];
  if (node.kind != 'b' && node.kind != 'c') return std::nullopt;
  link.remove_prefix(5);
  if (node.kind == 'b') link = link.substr(0, link.find('p'));  // a partition's
  const auto id = number(link);
  if (!id || *id < 0) return std::nullopt;
  node.id = *id;
  return node;
}

/// Whether the open file is a device node and not one that is called like it.
bool is_node(const std::string& link, char kind) {
  struct stat status{};
  if (::stat(link.c_str(), &status) != 0) return false;
  return kind == 'c' ? S_ISCHR(status.st_mode) : S_ISBLK(status.st_mode);
}

/// Calls visit(path in /proc, name) for each file that the process has open.
template <class Visit>
void each_open_file(pid_t pid, Visit&& visit) {
  std::error_code error;
  for (fs::directory_iterator entry(formatted("/proc/{}/fd", pid), error), end;
       !error && entry != end; entry.increment(error)) {
    const std::string link = entry->path().string();
    visit(link, read_link(link));
  }
}

/// Calls found(node) for each node of a ublk device that the process has open.
template <class Found>
void open_nodes(pid_t pid, Found&& found) {
  each_open_file(pid, [&](const std::string& link, const std::string& name) {
    const auto node = parse_node(name);
    if (node && is_node(link, node->kind)) found(*node);
  });
}

template <class Visit>
void each_process(Visit&& visit) {
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error))
    if (const auto pid = number(entry->path().filename().string())) visit(*pid);
}

bool has_open(pid_t pid, char kind, int id) {
  bool found = false;
  open_nodes(pid, [&](const Node& node) { found |= node.kind == kind && node.id == id; });
  return found;
}

std::vector<Process> processes_with(char kind, int id) {
  std::vector<Process> processes;
  each_process([&](pid_t pid) {
    if (has_open(pid, kind, id)) processes.push_back({.pid = pid, .name = name_of(pid)});
  });
  std::ranges::sort(processes, {}, &Process::pid);
  return processes;
}

/// Whether `inner` is what the process is called in one of the namespaces that it is in.
bool is_called(pid_t pid, pid_t inner) {
  std::ifstream file(formatted("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("NSpid:")) continue;
    std::istringstream numbers(line.substr(6));
    for (pid_t name = 0; numbers >> name;)
      if (name == inner) return true;
  }
  return false;
}

}  // namespace

std::string Process::text() const { return formatted("process {} ({})", pid, name); }

std::string ServerProcess::text() const {
  if (found()) return formatted("{} ({})", process.pid, process.name);
  return known == Known::none ? "none" : "unknown";
}

std::vector<Process> char_device_holders(int id) { return processes_with('c', id); }

std::vector<Process> block_device_openers(int id) { return processes_with('b', id); }

std::vector<Process> control_node_holders() {
  std::vector<Process> holders;
  each_process([&](pid_t pid) {
    bool open = false;
    each_open_file(pid, [&](const std::string&, const std::string& name) {
      open |= name.ends_with("/ublk-control");
    });
    if (open) holders.push_back({.pid = pid, .name = name_of(pid)});
  });
  return holders;
}

std::vector<int> ids_of_removed_nodes() {
  std::vector<int> ids;
  each_process([&](pid_t pid) {
    open_nodes(pid, [&](const Node& node) {
      if (node.removed) ids.push_back(node.id);
    });
  });
  std::ranges::sort(ids);
  ids.erase(std::ranges::unique(ids).begin(), ids.end());
  return ids;
}

bool sees_every_process() {
  return ::geteuid() == 0 && read_link("/proc/self/ns/pid") == first_pid_namespace;
}

ServerProcess server_process(const ublksrv_ctrl_dev_info& device) {
  const int id = static_cast<int>(device.dev_id);
  const pid_t hint = device.ublksrv_pid;
  using Known = ServerProcess::Known;
  if (hint > 0 && has_open(hint, 'c', id))
    return {.known = Known::found, .process = {.pid = hint, .name = name_of(hint)}};
  const auto holders = char_device_holders(id);
  if (holders.empty())
    return {.known = sees_every_process() ? Known::none : Known::unknown, .process = {}};
  // A child that inherited the file is no server.
  const auto named = std::ranges::find_if(
      holders, [hint](const Process& process) { return is_called(process.pid, hint); });
  return {.known = Known::found, .process = named != holders.end() ? *named : holders.front()};
}

Result<std::optional<Process>> kill_holder(const ublksrv_ctrl_dev_info& device) {
  const auto server = server_process(device);
  if (!server.found()) return std::nullopt;
  const Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, server.pid(), 0)));
  if (!handle.valid() && errno != ESRCH) return failed("pidfd_open", server.process.text(), errno);
  // From here on the number is the handle's: if it has the device open now, it had then.
  if (!handle.valid() || !has_open(server.pid(), 'c', static_cast<int>(device.dev_id)))
    return std::nullopt;
  if (::syscall(SYS_pidfd_send_signal, handle.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH)
    return failed("kill", server.process.text(), errno);
  return server.process;
}

}  // namespace ublkbench::control
