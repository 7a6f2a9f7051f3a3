// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/control/device_lock.hpp"
#include "bench/control/disk_users.hpp"
#include "bench/control/orphans.hpp"
#include "bench/control/quiesce.hpp"
#include "bench/server/device_record.hpp"
#include "bench/server/removal.hpp"
#include "bench/tools/ublk_server/affinity.hpp"
#include "bench/tools/ublk_server/server_verbs.hpp"

namespace ublkbench {
namespace {

// --- del -----------------------------------------------------------------------------------------

struct DeleteOptions {
  std::vector<int> ids;
  bool all = false;
  bool orphans = false;
  bool async = false;
  bool force = false;
};

int delete_device(int id, const RemovalRequest& request) {
  const auto outcome = remove_device(id, request);
  if (!outcome) return report(outcome.error());
  print_line("device {} {}", id, *outcome);
  return static_cast<int>(ExitCode::ok);
}

int delete_orphans(bool async) {
  int code = static_cast<int>(ExitCode::ok);
  for (const auto& [id, verdict] : control::judge_devices())
    if (!verdict.orphan)
      print_line("device {} left alone: {}", id, verdict.why);
    else if (const int failed = delete_device(id, {.only_orphan = true, .async = async}))
      code = failed;
  return code;
}

int delete_devices(const DeleteOptions& options) {
  if (auto present = control::driver_present(); !present) return report(present.error());
  if (options.orphans) return delete_orphans(options.async);
  if (options.ids.empty() && !options.all)
    return report(bad_input("no device named", "give -n ID, --orphans or --all").error());
  int code = static_cast<int>(ExitCode::ok);
  for (const int id : options.all ? control::device_ids() : options.ids)
    if (const int failed = delete_device(id, {.async = options.async, .force = options.force}))
      code = failed;
  return code;
}

// --- stop ----------------------------------------------------------------------------------------

/// The device under its lock, with a disk; an error says that it has none.
struct LockedDevice {
  control::DeviceLock lock;
  ublksrv_ctrl_dev_info info;
};

Result<LockedDevice> lock_device(int id, std::uint64_t timeout_ns = control::default_timeout_ns) {
  if (const auto there = control::info(id); !there) return std::unexpected(there.error());
  auto lock = control::DeviceLock::take(id, timeout_ns);
  if (!lock) return std::unexpected(lock.error());
  const auto device = control::info(id);
  if (!device) return std::unexpected(device.error());
  if (device->state == UBLK_S_DEV_DEAD)
    return bad_input(formatted("ublk device {}", id),
                     "it has no disk: it was stopped, or never started");
  return LockedDevice{.lock = std::move(*lock), .info = *device};
}

/// What the device is after an operation, which is not always what was asked for.
std::string state_now(int id) {
  const auto device = control::info(id);
  if (device) return control::state_name(device->state);
  return device.error().errnum == ENODEV ? "gone" : device.error().message();
}

Result<> stop_device(int id, bool safe, bool force) {
  const auto device = lock_device(id);
  if (!device) return std::unexpected(device.error());
  if (!safe && !force)
    if (auto unused = control::refuse_if_used(id); !unused) return unused;
  if (auto stopped = safe ? control::try_stop(id) : control::stop(id); !stopped) return stopped;
  // Ours are removed by their supervisors, which takes a moment.
  print_line("device {} stopped: it is {}", id, state_now(id));
  return {};
}

// --- quiesce -------------------------------------------------------------------------------------

Result<> quiesce_device(int id, const std::string& timeout) {
  const auto timeout_ns = parse_duration_ns(timeout);
  if (!timeout_ns) return std::unexpected(timeout_ns.error());
  const auto device = lock_device(id, *timeout_ns);
  if (!device) return std::unexpected(device.error());
  const auto quiesced = control::quiesce(id, *timeout_ns);
  if (!quiesced) return std::unexpected(quiesced.error());
  const std::string fate =
      formatted("its I/O {} until 'ublk-server recover -n {}'",
                control::waits_when_quiesced(device->info) ? "waits" : "fails", id);
  if (quiesced->rounds == 0)
    print_line("device {} is {} already; {}", id, state_now(id), fate);
  else
    print_line("device {} quiesced in {} ({} commands), it is {}; {}", id,
               format_ns(static_cast<double>(quiesced->took_ns)), quiesced->rounds, state_now(id),
               fate);
  std::fflush(stdout);  // before the lock is let go: what follows changes the state again
  return {};
}

// --- resize --------------------------------------------------------------------------------------

/// What the device's target holds now, where it can be opened a second time; else what it held when
/// the device was made.
std::uint64_t target_bytes(const DeviceRecord& record) {
  if (!record.folder.empty() && ::chdir(record.folder.c_str()) != 0) return record.target_bytes;
  const auto target = make_target(record.target, look_only);
  if (!target || !same_files(record.files, file_identities(**target, nullptr)))
    return record.target_bytes;
  return std::max(record.target_bytes, (*target)->shape().bytes);
}

Result<> resize_device(int id, const std::string& size) {
  const auto bytes = parse_size(size);
  if (!bytes) return std::unexpected(bytes.error());
  const auto device = lock_device(id);
  if (!device) return std::unexpected(device.error());
  const auto params = control::get_params(id);
  if (!params) return std::unexpected(params.error());
  const std::uint64_t block = 1ULL << params->basic.logical_bs_shift;
  if (*bytes == 0 || *bytes % block != 0)
    return bad_input(formatted("{} bytes", *bytes),
                     formatted("give a multiple of the device's blocks of {}", block));
  const std::uint64_t had = params->basic.dev_sectors << 9;
  if (const auto record = load_record(device->info)) {
    if (const std::uint64_t most = target_bytes(*record); *bytes > most)
      return bad_input(formatted("{} bytes, but target {} has {}", *bytes, record->target, most),
                       "let the target grow first");
    // Of a record of an earlier version nothing is known but that there is room for what there is.
    const std::uint64_t room = std::max<std::uint64_t>(record->metadata_room_bytes, had);
    if ((params->types & UBLK_PARAM_TYPE_INTEGRITY) != 0 && *bytes > room)
      return bad_input(
          formatted("{} bytes, but the metadata of device {} has room for {}", *bytes, id, room),
          "a device with metadata does not grow beyond what it was made with");
  } else if (*bytes > had) {
    return bad_input(formatted("nothing is known of device {}'s target", id),
                     "so it can only shrink");
  }
  if (auto resized = control::resize(id, *bytes); !resized) return resized;
  print_line("device {} has {} bytes", id, *bytes);
  return {};
}

}  // namespace

void add_control_verbs(CLI::App& app, int& code) {
  const auto deletion = std::make_shared<DeleteOptions>();
  auto* const del = app.add_subcommand(
      "del",
      "Stop and remove devices, unless somebody uses them. I/O that is under way fails.\n"
      "--orphans spares devices that wait for a server: recover them, or remove them by number");
  auto* const by_id = del->add_option("-n,--id,id", deletion->ids, "Device numbers")
                          ->type_name("ID,...")
                          ->delimiter(',');
  auto* const by_all =
      del->add_flag("-a,--all", deletion->all, "Every ublk device, whoever serves it");
  auto* const by_orphan =
      del->add_flag("--orphans", deletion->orphans,
                    "Devices of this suite whose maker and server have ended; names all others");
  del->add_flag("--async", deletion->async, "Do not wait for those who have the device open");
  del->add_flag("--force", deletion->force,
                "Also devices that are mounted, swap, held by another device, or open");
  by_id->excludes(by_all)->excludes(by_orphan);
  by_all->excludes(by_orphan);
  del->callback([deletion, &code] { code = delete_devices(*deletion); });

  struct Values {
    int id = -1;
    bool safe = false;
    bool force = false;
    std::string timeout = "30s";
    std::string size;
    std::string cpus;
  };
  const auto values = std::make_shared<Values>();
  const auto named = [values](CLI::App* verb) {
    verb->add_option("-n,--id,id", values->id, "Device number")->type_name("ID")->required();
    return verb;
  };
  auto* const stop = named(app.add_subcommand("stop", "Take the disk away"));
  stop->add_flag("--safe", values->safe,
                 "Only if nobody has it open; the driver checks (Linux 7.0)");
  stop->add_flag("--force", values->force,
                 "Also if it is mounted, swap, held by another device, or open");
  stop->callback(
      [values, &code] { code = report(stop_device(values->id, values->safe, values->force)); });

  auto* const quiesce = named(app.add_subcommand(
      "quiesce", "Let the server finish what it has and end; I/O waits for another one"));
  quiesce->add_option("--timeout", values->timeout, "How long to wait")
      ->type_name("TIME")
      ->capture_default_str();
  quiesce->callback(
      [values, &code] { code = report(quiesce_device(values->id, values->timeout)); });

  auto* const resize =
      named(app.add_subcommand("resize", "Change the capacity of a device in use"));
  resize->add_option("-s,--size", values->size, "New size")->type_name("SIZE")->required();
  resize->callback([values, &code] { code = report(resize_device(values->id, values->size)); });

  auto* const affinity = named(
      app.add_subcommand("set-affinity", "Move the daemons of a device in use to other CPUs"));
  affinity
      ->add_option("--server-cpus", values->cpus,
                   "'queue' (CPUs that submit to their queue), 'free', or a list such as 0-3,7")
      ->type_name("queue|free|CPUS")
      ->required();
  affinity->callback([values, &code] { code = report(set_affinity(values->id, values->cpus)); });
}

}  // namespace ublkbench
