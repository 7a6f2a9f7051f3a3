// SPDX-License-Identifier: MIT
#include "probes/lib/subject.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "bench/base/format.hpp"
#include "bench/control/control.hpp"
#include "bench/control/features.hpp"
#include "bench/control/holders.hpp"
#include "probes/subject.h"

namespace ublkbench::probes {
namespace {

Result<unsigned> char_major() {
  std::ifstream file("/proc/devices");
  for (std::string line; std::getline(file, line);)
    if (line.ends_with(" ublk-char")) return static_cast<unsigned>(std::stoul(line));
  return unsupported("there is no ublk driver: /proc/devices has no ublk-char",
                     "modprobe ublk_drv");
}

Result<Device> describe(int id) {
  const auto info = control::info(id);
  if (!info) return std::unexpected(info.error());
  return Device{.id = id,
                .queues = info->nr_hw_queues,
                .depth = info->queue_depth,
                .flags = info->flags,
                .server = control::server_process(*info).pid()};
}

Result<Subject> subject(bool all) {
  const auto major = char_major();
  if (!major) return std::unexpected(major.error());
  return Subject{.all = all, .devices = {}, .char_major = *major};
}

}  // namespace

probed::Subject Subject::record() const {
  probed::Subject subject{.all = all, .devices = {}};
  for (const Device& device : devices)
    subject.devices.push_back({.id = device.id,
                               .queues = device.queues,
                               .depth = device.depth,
                               .flags = feature_list(device.flags),
                               .server_pid = device.server});
  return subject;
}

std::string Subject::text() const {
  std::string text = all ? "all ublk devices" : "";
  for (const Device& device : devices)
    text += formatted("{}ublk device {} ({} queue(s) x {} tags, server {})",
                      text.empty() ? "" : "; ", device.id, device.queues, device.depth,
                      device.server > 0 ? std::to_string(device.server) : "unknown");
  return text;
}

std::optional<int> Subject::vanished() const {
  if (all) return std::nullopt;
  for (const Device& device : devices)
    if (!std::filesystem::exists(formatted("/sys/class/ublk-char/ublkc{}", device.id)))
      return device.id;
  return std::nullopt;
}

Result<Subject> all_devices() {
  auto chosen = subject(true);
  if (!chosen) return chosen;
  for (const int id : control::device_ids()) {
    const auto device = describe(id);
    if (device)
      chosen->devices.push_back(*device);
    else if (device.error().errnum != ENODEV)  // else it was removed meanwhile
      return std::unexpected(device.error());
  }
  return chosen;
}

Result<Subject> one_device(int id) {
  if (id >= WANTED_DEVICES)
    return bad_input(formatted("device {}", id),
                     formatted("by number only devices below {}; use --dev all", WANTED_DEVICES));
  auto chosen = subject(false);
  if (!chosen) return chosen;
  const auto device = describe(id);
  if (!device && device.error().errnum != ENODEV) return std::unexpected(device.error());
  if (!device)
    return bad_input(formatted("there is no ublk device {}", id), device.error().message());
  chosen->devices.push_back(*device);
  return chosen;
}

Result<Subject> devices_of(pid_t server) {
  auto chosen = all_devices();
  if (!chosen) return chosen;
  chosen->all = false;
  std::erase_if(chosen->devices, [&](const Device& device) {
    return device.server != server || device.id >= WANTED_DEVICES;
  });
  if (chosen->devices.empty())
    return bad_input(formatted("process {} serves no ublk device", server),
                     "'ublk-server list' names the servers");
  return chosen;
}

}  // namespace ublkbench::probes
