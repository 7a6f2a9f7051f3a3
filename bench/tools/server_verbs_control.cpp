// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <format>
#include <optional>
#include <print>

#include "bench/base/clock.hpp"
#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/control/quiesce.hpp"
#include "bench/server/device_record.hpp"
#include "bench/tools/affinity.hpp"
#include "bench/tools/server_verbs.hpp"

namespace ublkbench {
namespace {

// --- del -----------------------------------------------------------------------------------------

struct DeleteOptions {
  std::vector<int> ids;
  bool all = false;
  bool orphans = false;
  bool async = false;
};

Result<> delete_device(int id, bool async) {
  auto device = control::info(id);
  if (!device) return std::unexpected(device.error());
  if (auto stopped = control::stop(id); !stopped && stopped.error().errnum != ENODEV)
    return stopped;
  // The device's own supervisor may have been faster, and the number may be another device's by
  // now.
  const auto now = control::info(id);
  if (now ? now->ublksrv_flags != device->ublksrv_flags : now.error().errnum == ENODEV) return {};
  // Once the number is free, the next device's record may be there.
  if (control::owner(*device)) forget_record(id);
  auto removed = async ? control::remove_async(id) : control::remove(id);
  if (!removed && removed.error().errnum != ENODEV) return removed;
  return {};
}

int delete_devices(const DeleteOptions& options) {
  if (auto present = control::driver_present(); !present) return report(present.error());
  if (options.ids.empty() && !options.all && !options.orphans)
    return report(bad_input("no device named", "give -n ID, --orphans or --all").error());
  const auto ids = options.all       ? control::device_ids()
                   : options.orphans ? control::orphans()
                                     : options.ids;
  int code = static_cast<int>(ExitCode::ok);
  for (const int id : ids) {
    if (const auto deleted = delete_device(id, options.async); !deleted)
      code = report(deleted.error());
    else
      std::println("device {} {}", id, options.async ? "is going" : "removed");
  }
  return code;
}

// --- stop ----------------------------------------------------------------------------------------

/// Ours are removed by their supervisors, which takes a moment.
Result<> stop_device(int id, bool safe) {
  const auto device = control::info(id);
  if (!device) return std::unexpected(device.error());
  if (auto stopped = safe ? control::try_stop(id) : control::stop(id); !stopped) return stopped;
  std::println("device {} stopped", id);
  return {};
}

// --- quiesce -------------------------------------------------------------------------------------

int quiesce_device(int id, const std::string& timeout) {
  const auto timeout_ns = parse_duration_ns(timeout);
  if (!timeout_ns) return report(timeout_ns.error());
  const auto device = control::info(id);
  if (!device) return report(device.error());
  if (device->state == UBLK_S_DEV_DEAD)
    return report(bad_input(std::format("device {} was stopped", id)).error());
  const auto quiesced = control::quiesce(id, *timeout_ns);
  if (!quiesced) return report(quiesced.error());
  std::println(
      "device {} quiesced in {} ({} commands); its I/O {} until 'ublk-server recover -n {}'", id,
      format_ns(static_cast<double>(quiesced->took_ns)), quiesced->rounds,
      control::waits_when_quiesced(*device) ? "waits" : "fails", id);
  return 0;
}

// --- resize --------------------------------------------------------------------------------------

/// What the device's target holds now, where it can be opened a second time; else what it held when
/// the device was made.
std::uint64_t target_bytes(const DeviceRecord& record) {
  if (!record.folder.empty() && ::chdir(record.folder.c_str()) != 0) return record.target_bytes;
  const auto target = make_target(record.target);
  if (!target || !same_files(record.files, file_identities(**target, nullptr)))
    return record.target_bytes;
  return std::max(record.target_bytes, (*target)->shape().bytes);
}

Result<> resize_device(int id, const std::string& size) {
  const auto bytes = parse_size(size);
  if (!bytes) return std::unexpected(bytes.error());
  const auto device = control::info(id);
  if (!device) return std::unexpected(device.error());
  const auto params = control::get_params(id);
  if (!params) return std::unexpected(params.error());
  const std::uint64_t block = 1ULL << params->basic.logical_bs_shift;
  if (*bytes == 0 || *bytes % block != 0)
    return bad_input(std::format("{} bytes", *bytes),
                     std::format("give a multiple of the device's blocks of {}", block));
  const std::uint64_t had = params->basic.dev_sectors << 9;
  if (const auto record = load_record(*device)) {
    if (const std::uint64_t most = target_bytes(*record); *bytes > most)
      return bad_input(std::format("{} bytes, but target {} has {}", *bytes, record->target, most),
                       "let the target grow first");
    // Of a record of an earlier version nothing is known but that there is room for what there is.
    const std::uint64_t room = std::max<std::uint64_t>(record->metadata_room_bytes, had);
    if ((params->types & UBLK_PARAM_TYPE_INTEGRITY) != 0 && *bytes > room)
      return bad_input(
          std::format("{} bytes, but the metadata of device {} has room for {}", *bytes, id, room),
          "a device with metadata does not grow beyond what it was made with");
  } else if (*bytes > had) {
    return bad_input(std::format("nothing is known of device {}'s target", id),
                     "so it can only shrink");
  }
  if (auto resized = control::resize(id, *bytes); !resized) return resized;
  std::println("device {} has {} bytes", id, *bytes);
  return {};
}

}  // namespace

void add_control_verbs(CLI::App& app, int& code) {
  const auto deletion = std::make_shared<DeleteOptions>();
  auto* const del = app.add_subcommand(
      "del",
      "Stop and remove devices. I/O that is under way fails.\n"
      "--orphans spares devices that wait for a server: recover them, or remove them by number");
  auto* const by_id =
      del->add_option("-n,--id,id", deletion->ids, "Device numbers")->delimiter(',');
  auto* const by_all =
      del->add_flag("-a,--all", deletion->all, "Every ublk device, whoever serves it");
  auto* const by_orphan =
      del->add_flag("--orphans", deletion->orphans, "Devices of this suite whose owner is dead");
  del->add_flag("--async", deletion->async, "Do not wait for those who have the device open");
  by_id->excludes(by_all)->excludes(by_orphan);
  by_all->excludes(by_orphan);
  del->callback([deletion, &code] { code = delete_devices(*deletion); });

  struct Values {
    int id = -1;
    bool safe = false;
    std::string timeout = "30s";
    std::string size;
    std::string cpus;
  };
  const auto values = std::make_shared<Values>();
  const auto named = [values](CLI::App* verb) {
    verb->add_option("-n,--id,id", values->id, "Device number")->required();
    return verb;
  };
  auto* const stop = named(app.add_subcommand("stop", "Take the disk away"));
  stop->add_flag("--safe", values->safe, "Only if nobody has it open (Linux 7.0)");
  stop->callback([values, &code] { code = report(stop_device(values->id, values->safe)); });

  auto* const quiesce = named(app.add_subcommand(
      "quiesce", "Let the server finish what it has and end; I/O waits for another one"));
  quiesce->add_option("--timeout", values->timeout, "How long to wait")->capture_default_str();
  quiesce->callback([values, &code] { code = quiesce_device(values->id, values->timeout); });

  auto* const resize =
      named(app.add_subcommand("resize", "Change the capacity of a device in use"));
  resize->add_option("-s,--size", values->size, "New size")->required();
  resize->callback([values, &code] { code = report(resize_device(values->id, values->size)); });

  auto* const affinity = named(
      app.add_subcommand("set-affinity", "Move the daemons of a device in use to other CPUs"));
  affinity
      ->add_option("--server-cpus", values->cpus,
                   "'queue' (CPUs that submit to their queue), 'free', or a list such as 0-3,7")
      ->required();
  affinity->callback([values, &code] { code = report(set_affinity(values->id, values->cpus)); });
}

}  // namespace ublkbench
