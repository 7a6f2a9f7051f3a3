// SPDX-License-Identifier: MIT
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/control/features.hpp"
#include "bench/control/holders.hpp"
#include "bench/control/maker.hpp"
#include "bench/control/removal.hpp"
#include "bench/server/device_record.hpp"
#include "bench/tools/ublk_server/server_verbs.hpp"

namespace ublkbench {
namespace {

const char* recovery_name(std::uint64_t flags) {
  if ((flags & UBLK_F_USER_RECOVERY_REISSUE) != 0) return "reissue";
  if ((flags & UBLK_F_USER_RECOVERY_FAIL_IO) != 0) return "fail-io";
  return (flags & UBLK_F_USER_RECOVERY) != 0 ? "fail" : "none";
}

const char* maker_word(const ublksrv_ctrl_dev_info& device) {
  const auto stamp = control::decode(device.ublksrv_flags);
  if (!stamp) return "unknown";
  switch (control::state_of(*stamp)) {
    case control::MakerState::alive:
      return "alive";
    case control::MakerState::dead:
      return "dead";
    case control::MakerState::elsewhere:
      return "in another PID namespace";
  }
  return "unknown";
}

/// With a device that was deleted, who has it open; it is there until they close it.
nlohmann::json describe(const ublksrv_ctrl_dev_info& device, bool deleted) {
  const auto owner = control::owner(device);
  const auto record = load_record(device);
  const auto server = control::server_process(device);
  const int id = static_cast<int>(device.dev_id);
  return {{"id", device.dev_id},
          {"state", deleted ? "DELETED" : control::state_name(device.state)},
          {"held_by", deleted ? nlohmann::json(control::who_keeps(id)) : nlohmann::json()},
          {"queues", device.nr_hw_queues},
          {"depth", device.queue_depth},
          {"max_io_bytes", device.max_io_buf_bytes},
          {"io_desc_bytes", device.io_desc_size},
          {"server_pid", server.pid()},
          {"server", server.text()},
          {"owner_pid", owner ? nlohmann::json(*owner) : nlohmann::json()},
          {"owner", owner ? maker_word(device) : "not ours"},
          {"owner_uid", device.owner_uid},
          {"recovery", recovery_name(device.flags)},
          {"target", record ? nlohmann::json(record->target) : nlohmann::json()},
          {"flags", feature_names(device.flags)},
          {"flags_value", device.flags}};
}

Result<nlohmann::json> describe_devices(const std::optional<int>& only) {
  nlohmann::json devices = nlohmann::json::array();
  for (const int id : only ? std::vector<int>{*only} : control::device_ids()) {
    const auto device = control::info(id);
    if (device)
      devices.push_back(describe(*device, control::is_going(id)));
    else if (only)
      return std::unexpected(device.error());
  }
  if (only) return devices;
  for (const int id : control::going_ids())
    if (const auto device = control::info(id)) devices.push_back(describe(*device, true));
  return devices;
}

std::string line_of(const nlohmann::json& device) {
  const std::string state = device["state"].get<std::string>();
  if (!device["held_by"].is_null())
    return formatted("ublkb{}: {}: its number is free when it is closed: {}",
                     device["id"].get<int>(), state, device["held_by"].get<std::string>());
  const std::string owner = device["owner"].get<std::string>();
  return formatted(
      "ublkb{}: {} queues {} depth {} max-io {} recovery {} server-pid {} owner-pid {} flags {}",
      device["id"].get<int>(), state, device["queues"].get<int>(), device["depth"].get<int>(),
      format_size(device["max_io_bytes"].get<std::uint64_t>()),
      device["recovery"].get<std::string>(), device["server"].get<std::string>(),
      device["owner_pid"].is_null() ? formatted("({})", owner)
                                    : formatted("{} ({})", device["owner_pid"].get<int>(), owner),
      device["flags"].get<std::string>());
}

int list_devices(const std::optional<int>& only, bool json) {
  if (auto present = control::driver_present(); !present) return report(present.error());
  const auto devices = describe_devices(only);
  if (!devices) return report(devices.error());
  if (json) {
    print_line("{}", json_text(*devices, 2));
    return 0;
  }
  for (const auto& device : *devices) print_line("{}", line_of(device));
  if (devices->empty()) print_line("no ublk devices");
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
    print_line("{}",
               json_text({{"flags", formatted("{:#x}", *granted)}, {"features", features}}, 2));
    return 0;
  }
  print_line("this kernel's driver can grant {:#x}:", *granted);
  for (const Feature& known : all_features())
    print_line("  {:<32} {}", known.name,
               (known.flag & *granted) != 0
                   ? "granted"
                   : formatted("not granted (first in Linux {})", known.first_kernel));
  return 0;
}

/// "1000 1000" for an unprivileged device. Other devices' nodes are not to be given away.
int print_owner(int id) {
  const auto device = control::info(id);
  if (!device) return report(device.error());
  if ((device->flags & UBLK_F_UNPRIVILEGED_DEV) == 0)
    return report(unsupported(formatted("device {} is not an unprivileged one", id)).error());
  print_line("{} {}", device->owner_uid, device->owner_gid);
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
  list->add_option("-n,--id,id", values->id, "Only this device")->type_name("ID");
  list->add_flag("--json", values->json, "As JSON");
  list->callback([values, &code] { code = list_devices(values->id, values->json); });

  auto* const features = app.add_subcommand("features", "Show what this kernel's driver can grant");
  features->add_flag("--json", values->json, "As JSON");
  features->callback([values, &code] { code = list_features(values->json); });

  auto* const owner = app.add_subcommand(
      "owner", "Print user and group of an unprivileged device; for the udev rule");
  owner->add_option("-n,--id,id", values->id, "Device number")->type_name("ID")->required();
  owner->callback([values, &code] { code = print_owner(*values->id); });
}

}  // namespace ublkbench
