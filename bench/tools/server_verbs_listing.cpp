// SPDX-License-Identifier: MIT
#include <cstdio>
#include <format>
#include <nlohmann/json.hpp>
#include <optional>
#include <print>

#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/control/features.hpp"
#include "bench/server/device_record.hpp"
#include "bench/tools/server_verbs.hpp"

namespace ublkbench {
namespace {

const char* recovery_name(std::uint64_t flags) {
  if ((flags & UBLK_F_USER_RECOVERY_REISSUE) != 0) return "reissue";
  if ((flags & UBLK_F_USER_RECOVERY_FAIL_IO) != 0) return "fail-io";
  return (flags & UBLK_F_USER_RECOVERY) != 0 ? "fail" : "none";
}

nlohmann::json describe(const ublksrv_ctrl_dev_info& device) {
  const auto owner = control::owner(device);
  const auto record = load_record(device);
  return {{"id", device.dev_id},
          {"state", control::state_name(device.state)},
          {"queues", device.nr_hw_queues},
          {"depth", device.queue_depth},
          {"max_io_bytes", device.max_io_buf_bytes},
          {"io_desc_bytes", device.io_desc_size},
          {"server_pid", device.ublksrv_pid},
          {"owner_pid", owner ? nlohmann::json(*owner) : nlohmann::json()},
          {"owner_uid", device.owner_uid},
          {"recovery", recovery_name(device.flags)},
          {"target", record ? nlohmann::json(record->target) : nlohmann::json()},
          {"flags", feature_names(device.flags)},
          {"flags_value", device.flags}};
}

int list_devices(const std::optional<int>& only, bool json) {
  if (auto present = control::driver_present(); !present) return report(present.error());
  nlohmann::json devices = nlohmann::json::array();
  for (const int id : only ? std::vector<int>{*only} : control::device_ids()) {
    const auto device = control::info(id);
    if (device)
      devices.push_back(describe(*device));
    else if (only)
      return report(device.error());
  }
  if (json) {
    std::println("{}", devices.dump(2));
    return 0;
  }
  for (const auto& device : devices)
    std::println(
        "ublkb{}: {} queues {} depth {} max-io {} recovery {} server-pid {} {} flags {}",
        device["id"].get<int>(), device["state"].get<std::string>(), device["queues"].get<int>(),
        device["depth"].get<int>(), format_size(device["max_io_bytes"].get<std::uint64_t>()),
        device["recovery"].get<std::string>(), device["server_pid"].get<int>(),
        device["owner_pid"].is_null() ? std::string("(not ours)")
                                      : std::format("owner-pid {}", device["owner_pid"].get<int>()),
        device["flags"].get<std::string>());
  if (devices.empty()) std::println("no ublk devices");
  return 0;
}

int list_features(bool json) {
  const auto granted = control::features();
  if (!granted) return report(granted.error());
  if (json) {
    nlohmann::json features = nlohmann::json::array();
    for (const Feature& known : all_features())
      features.push_back({{"name", known.name},
                          {"granted", (known.flag & *granted) != 0},
                          {"first_kernel", known.first_kernel}});
    std::println(
        "{}",
        nlohmann::json{{"flags", std::format("{:#x}", *granted)}, {"features", features}}.dump(2));
    return 0;
  }
  std::println("this kernel's driver can grant {:#x}:", *granted);
  for (const Feature& known : all_features())
    std::println("  {:<32} {}", known.name,
                 (known.flag & *granted) != 0
                     ? "granted"
                     : std::format("not granted (first in Linux {})", known.first_kernel));
  return 0;
}

/// "1000 1000" for an unprivileged device. Other devices' nodes are not to be given away.
int print_owner(int id) {
  const auto device = control::info(id);
  if (!device) return report(device.error());
  if ((device->flags & UBLK_F_UNPRIVILEGED_DEV) == 0)
    return report(unsupported(std::format("device {} is not an unprivileged one", id)).error());
  std::println("{} {}", device->owner_uid, device->owner_gid);
  return 0;
}

}  // namespace

void add_listing_verbs(CLI::App& app, int& code) {
  struct Values {
    std::optional<int> id;
    bool json = false;
  };
  const auto values = std::make_shared<Values>();
  auto* const list = app.add_subcommand("list", "Show all ublk devices; never blocks");
  list->add_option("-n,--id", values->id, "Only this device");
  list->add_flag("--json", values->json, "As JSON");
  list->callback([values, &code] { code = list_devices(values->id, values->json); });

  auto* const features = app.add_subcommand("features", "Show what this kernel's driver can grant");
  features->add_flag("--json", values->json, "As JSON");
  features->callback([values, &code] { code = list_features(values->json); });

  auto* const owner = app.add_subcommand(
      "owner", "Print user and group of an unprivileged device; for the udev rule");
  owner->add_option("-n,--id,id", values->id, "Device number")->required();
  owner->callback([values, &code] { code = print_owner(*values->id); });
}

}  // namespace ublkbench
