// SPDX-License-Identifier: MIT
// ublk-server: the reference server by itself.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <format>
#include <nlohmann/json.hpp>
#include <print>

#include "bench/base/clock.hpp"
#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/control/features.hpp"
#include "bench/server/server.hpp"
#include "bench/tools/server_cli.hpp"

namespace ublkbench {
namespace {

int report(const Error& error) {
  std::println(stderr, "ublk-server: {}", error.message());
  return static_cast<int>(error.exit);
}

// --- add -----------------------------------------------------------------------------------------

sigset_t ending_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

/// Before there is a device: a signal from then on waits for supervise(), which removes it.
void hold_signals() {
  const sigset_t signals = ending_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

/// Serves until a signal or the end of the server process. SIGINT, SIGTERM and SIGHUP stop the
/// device in order.
int supervise(Server& server) {
  const sigset_t signals = ending_signals();
  const Fd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  pollfd events[] = {{.fd = signal_fd.get(), .events = POLLIN, .revents = 0},
                     {.fd = server.event_fd(), .events = POLLIN, .revents = 0}};
  while (::poll(events, 2, -1) < 0 && errno == EINTR) {
  }
  if (events[0].revents != 0) {
    const auto stopped = server.stop();
    return stopped ? static_cast<int>(ExitCode::ok) : report(stopped.error());
  }
  // The process ended: by itself on STOP_DEV from elsewhere, or with an error.
  const auto ended = server.wait();
  const auto removed = server.kill();
  if (!ended) return report(ended.error());
  return removed ? static_cast<int>(ExitCode::ok) : report(removed.error());
}

std::string describe_added(const Server& server, const ServeOptions& options, bool json) {
  const auto& device = server.device();
  if (json) {
    const nlohmann::json added = {{"id", server.id()},
                                  {"block_device", server.block_path()},
                                  {"mode", options.mode.name()},
                                  {"target", options.target},
                                  {"queues", device.nr_hw_queues},
                                  {"depth", device.queue_depth},
                                  {"daemons", options.daemon_count()},
                                  {"server_pid", server.process()},
                                  {"flags_requested", feature_names(options.flags(device.flags))},
                                  {"flags_granted", feature_names(device.flags)}};
    return added.dump() + '\n';
  }
  return std::format(
      "{}: mode {}, target {}, {} queue(s) of depth {}, {} daemon(s), server pid {}\n",
      server.block_path(), options.mode.name(), options.target, device.nr_hw_queues,
      device.queue_depth, options.daemon_count(), server.process());
}

int serve(const ServeOptions& options, bool json) {
  hold_signals();
  auto server = Server::start(options);
  if (!server) return report(server.error());
  std::print("{}", describe_added(*server, options, json));
  std::fflush(stdout);
  return supervise(*server);
}

/// What the process in the background tells the one in front: an exit code and a text to print.
void send_outcome(int fd, int code, const std::string& text) {
  const std::string message = static_cast<char>(code) + text + '\0';
  (void)!::write(fd, message.data(), message.size());
}

std::string receive_outcome(int fd) {
  std::string message;
  char byte = 0;
  while (::read(fd, &byte, 1) == 1 && (byte != '\0' || message.empty())) message += byte;
  return message;
}

[[noreturn]] void background_main(const ServeOptions& options, bool json, Fd writer) {
  ::setsid();
  hold_signals();
  // Before the server process is forked: a reader of our output must not wait for a process that
  // holds the other end and lives as long as the device.
  if (auto null = open_file("/dev/null", O_RDWR))
    for (const int stream : {0, 1, 2}) ::dup2(null->get(), stream);
  auto server = Server::start(options);
  if (!server) {
    const int code = static_cast<int>(server.error().exit);
    send_outcome(writer.get(), code, std::format("ublk-server: {}\n", server.error().message()));
    ::_exit(code);
  }
  send_outcome(writer.get(), 0, describe_added(*server, options, json));
  writer.reset();
  ::_exit(supervise(*server));
}

/// Serves from a process of its own session; returns once the device is up or has failed to be.
int serve_in_background(const ServeOptions& options, bool json) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return report(failed("pipe", {}, errno).error());
  Fd reader(ends[0]);
  Fd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return report(failed("fork", {}, errno).error());
  if (child == 0) {
    reader.reset();
    background_main(options, json, std::move(writer));
  }
  writer.reset();
  const std::string outcome = receive_outcome(reader.get());
  if (outcome.empty()) {
    ::waitpid(child, nullptr, 0);
    return report(failed("serve in the background", "process died", 0).error());
  }
  const int code = static_cast<unsigned char>(outcome.front());
  std::print(code == 0 ? stdout : stderr, "{}", outcome.substr(1));
  return code;
}

// --- del, list, features
// ---------------------------------------------------------------------------

Result<> delete_device(int id) {
  auto device = control::info(id);
  if (!device) return std::unexpected(device.error());
  if (auto stopped = control::stop(id); !stopped) return stopped;
  auto removed = control::remove(id);
  // The device's own supervisor may have been faster.
  if (!removed && removed.error().errnum != ENODEV) return removed;
  return {};
}

int delete_devices(const std::vector<int>& ids) {
  int code = static_cast<int>(ExitCode::ok);
  for (const int id : ids) {
    if (const auto deleted = delete_device(id); !deleted)
      code = report(deleted.error());
    else
      std::println("device {} removed", id);
  }
  return code;
}

nlohmann::json describe(const ublksrv_ctrl_dev_info& device) {
  const auto owner = control::owner(device);
  return {{"id", device.dev_id},
          {"state", control::state_name(device.state)},
          {"queues", device.nr_hw_queues},
          {"depth", device.queue_depth},
          {"max_io_bytes", device.max_io_buf_bytes},
          {"server_pid", device.ublksrv_pid},
          {"owner_pid", owner ? nlohmann::json(*owner) : nlohmann::json()},
          {"flags", feature_names(device.flags)}};
}

int list_devices(bool json) {
  if (auto present = control::driver_present(); !present) return report(present.error());
  nlohmann::json devices = nlohmann::json::array();
  for (const int id : control::device_ids())
    if (auto device = control::info(id)) devices.push_back(describe(*device));
  if (json) {
    std::println("{}", devices.dump(2));
    return 0;
  }
  for (const auto& device : devices)
    std::println(
        "ublkb{}: {} queues {} depth {} max-io {} server-pid {} {} flags {}",
        device["id"].get<int>(), device["state"].get<std::string>(), device["queues"].get<int>(),
        device["depth"].get<int>(), format_size(device["max_io_bytes"].get<std::uint64_t>()),
        device["server_pid"].get<int>(),
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

// --- command line
// ----------------------------------------------------------------------------------

int run(int argc, char** argv) {
  CLI::App app{"The reference ublk server: creates, serves and removes ublk block devices."};
  app.require_subcommand(1);
  bool json = false;
  int code = 0;

  ServerCli server_cli;
  bool foreground = false;
  auto* const add = app.add_subcommand("add", "Create a device and serve it in the background");
  server_cli.add_options(*add);
  add->add_flag("-f,--foreground", foreground, "Serve until Ctrl-C instead");
  add->add_flag("--json", json, "Describe the device as JSON");
  add->footer(
      "Examples:\n"
      "  ublk-server add -t null -q 2 -d 256\n"
      "  ublk-server add -m batch,auto_zc -t loop:/dev/nvme0n1 --foreground\n"
      "  ublk-server add -m copy -t mem:256M -n 7 && mkfs.ext4 /dev/ublkb7");
  add->callback([&] {
    const auto options = server_cli.options();
    if (!options)
      code = report(options.error());
    else
      code = foreground ? serve(*options, json) : serve_in_background(*options, json);
  });

  std::vector<int> ids;
  bool all = false;
  bool orphans = false;
  auto* const del = app.add_subcommand("del", "Stop and remove devices");
  auto* const by_id = del->add_option("-n,--id,id", ids, "Device numbers")->delimiter(',');
  auto* const by_all = del->add_flag("-a,--all", all, "Every ublk device, whoever serves it");
  auto* const by_orphan =
      del->add_flag("--orphans", orphans, "Devices of this suite whose owner is dead");
  by_id->excludes(by_all)->excludes(by_orphan);
  by_all->excludes(by_orphan);
  del->callback([&] {
    if (auto present = control::driver_present(); !present) {
      code = report(present.error());
    } else if (ids.empty() && !all && !orphans) {
      code = report(bad_input("no device named", "give -n ID, --orphans or --all").error());
    } else {
      code = delete_devices(all ? control::device_ids() : orphans ? control::orphans() : ids);
    }
  });

  auto* const list = app.add_subcommand("list", "Show all ublk devices; never blocks");
  list->add_flag("--json", json, "As JSON");
  list->callback([&] { code = list_devices(json); });

  auto* const features = app.add_subcommand("features", "Show what this kernel's driver can grant");
  features->add_flag("--json", json, "As JSON");
  features->callback([&] { code = list_features(json); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return error.get_exit_code() == 0 ? app.exit(error)
                                      : (app.exit(error), static_cast<int>(ExitCode::usage));
  }
  return code;
}

}  // namespace
}  // namespace ublkbench

int main(int argc, char** argv) { return ublkbench::run(argc, argv); }
