// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/base/units.hpp"
#include "bench/cli/help_formatter.hpp"
#include "bench/control/device_lock.hpp"
#include "bench/control/features.hpp"
#include "bench/control/holders.hpp"
#include "bench/control/quiesce.hpp"
#include "bench/process/wait.hpp"
#include "bench/server/device_record.hpp"
#include "bench/tools/options/server_cli.hpp"
#include "bench/tools/ublk_server/blackout.hpp"
#include "bench/tools/ublk_server/server_verbs.hpp"
#include "bench/tools/ublk_server/supervise.hpp"

namespace ublkbench {
namespace {

nlohmann::json described(const Server& server, const ServeOptions& options) {
  const auto& device = server.device();
  const StartTimes& times = server.times();
  return {{"id", server.id()},
          {"ids", std::vector<int>(server.ids().begin(), server.ids().end())},
          {"start",
           {{"add_ns", times.add_ns},
            {"set_params_ns", times.set_params_ns},
            {"fetch_ns", times.fetch_ns},
            {"start_ns", times.start_ns}}},
          {"block_device", server.block_path()},
          {"mode", options.mode.name()},
          {"target", options.target},
          {"queues", device.nr_hw_queues},
          {"depth", device.queue_depth},
          {"daemons", options.daemon_count()},
          {"server_pid", server.process()},
          {"shared_memory", server.shared_memory_path()},
          {"flags_requested", feature_names(options.flags(device.flags))},
          {"flags_granted", feature_names(device.flags)}};
}

std::string described_in_words(const Server& server, const ServeOptions& options) {
  const auto& device = server.device();
  const std::string names = server.ids().size() == 1
                                ? server.block_path()
                                : formatted("{} to ublkb{} ({} devices)", server.block_path(),
                                            server.ids().back(), server.ids().size());
  return formatted("{}: mode {}, target {}, {} queue(s) of depth {}, {} daemon(s), server pid {}\n",
                   names, options.mode.name(), options.target, device.nr_hw_queues,
                   device.queue_depth, options.daemon_count(), server.process());
}

// --- what the verbs have in common ---------------------------------------------------------

struct ServingVerb {
  CLI::App* app = nullptr;
  ServerCli cli;
  bool foreground = false;
  bool json = false;
  bool keep = false;
  bool accept_other_data = false;
  bool accept_errors = false;
  std::string timeout = "30s";

  int serve(const ServingJob& job) const {
    return foreground ? serve_in_front(job) : serve_in_background(job);
  }
  [[nodiscard]] std::string describe(const Server& server, const ServeOptions& options) const {
    return json ? json_text(described(server, options)) + '\n'
                : described_in_words(server, options);
  }
};

std::shared_ptr<ServingVerb> add_verb(CLI::App& app, const std::string& name,
                                      const std::string& help,
                                      ServerCli::BareWord word = ServerCli::BareWord::device) {
  auto verb = std::make_shared<ServingVerb>();
  verb->app = app.add_subcommand(name, help);
  verb->cli.add_options(*verb->app, word);
  verb->app->add_flag("--json", verb->json, "Describe the device as JSON");
  verb->app->add_flag("--keep", verb->keep,
                      "Leave the device, without a disk, when its server ends; 'del' removes it");
  return verb;
}

int add_device(const ServingVerb& verb, ServeOptions options) {
  options.keep = verb.keep;
  return verb.serve(
      {.start = [&] { return Server::start(options); },
       .describe = [&](const Server& server) { return verb.describe(server, options); },
       .keep = verb.keep,
       .adds_device = true});
}

int add_device(const ServingVerb& verb) {
  auto options = verb.cli.options_of_all_words();
  return options ? add_device(verb, std::move(*options)) : report(options.error());
}

// --- recover -------------------------------------------------------------------------------------

/// The words that made the device, and after them those of now; numbers that the driver settled
/// come from the device.
Result<ServeOptions> options_again(const ServingVerb& verb) {
  auto given = verb.cli.options();
  if (!given) return given;
  if (given->id < 0) return bad_input("no device named", "give -n ID");
  const auto device = control::info(given->id);
  if (!device) return std::unexpected(device.error());
  const auto record = load_record(*device);
  if (record && !record->layout)
    say("ublk-server: the record of device {} is of an earlier version: how its data lies "
        "in its files and which memory it shares is not checked",
        given->id);
  std::vector<std::string> words = record ? record->words : std::vector<std::string>{};
  std::ranges::copy(verb.cli.words(), std::back_inserter(words));

  CLI::App parser;
  ServerCli cli;
  cli.add_options(parser);
  std::ranges::reverse(words);
  try {
    parser.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    return bad_input("the remembered options and these do not go together", error.what());
  }
  auto options = cli.options_of_all_words();
  if (!options) return options;
  options->id = given->id;
  options->accept_other_data = verb.accept_other_data;
  options->die_while_fetching = given->die_while_fetching;
  options->queues = device->nr_hw_queues;
  options->depth = device->queue_depth;
  options->max_io_bytes = device->max_io_buf_bytes;
  // Relative paths start from where the device was added, unless they are typed now.
  const bool same_target = record && options->target == record->target;
  if (same_target && !record->folder.empty() && ::chdir(record->folder.c_str()) != 0)
    return failed("chdir", record->folder, errno, "the device was added there");
  return options;
}

int recover_device(const ServingVerb& verb) {
  const auto timeout_ns = parse_duration_ns(verb.timeout);
  if (!timeout_ns) return report(timeout_ns.error());
  const auto options = options_again(verb);
  if (!options) return report(options.error());
  return verb.serve(
      {.start = [&] { return Server::recover(*options, *timeout_ns); },
       .describe = [&](const Server& server) { return verb.describe(server, *options); },
       .keep = verb.keep});
}

// --- serve ---------------------------------------------------------------------------------------

// A server that was killed has its device open until it is gone.
constexpr std::uint64_t last_server_limit_ns = 5'000'000'000;

/// Waits for the end of a server that is on its way out; one that stays is an error.
Result<> wait_for_last_server(const ublksrv_ctrl_dev_info& device) {
  auto server = control::server_process(device);
  const auto gone =
      process::wait_until("the last server to end", process::deadline_after(last_server_limit_ns),
                          [&] { return !(server = control::server_process(device)).found(); });
  if (gone) return {};
  return unsupported(formatted("device {} has a server already", device.dev_id),
                     server.process.text());
}

/// Whether the device is there and waits for a server, or will in a moment: its own is gone.
Result<bool> to_be_taken_over(int id) {
  const auto device = control::info(id);
  if (!device && device.error().errnum == ENODEV) return false;
  if (!device) return std::unexpected(device.error());
  if (auto gone = wait_for_last_server(*device); !gone) return std::unexpected(gone.error());
  if (control::recoverable(*device)) return true;
  return bad_input(formatted("device {} is there, and was added without --recovery", id),
                   formatted("'ublk-server del -n {}' removes it", id));
}

/// The words are those of 'add', said at each start: what they say of a device that is there has
/// to fit it.
int serve_device(const ServingVerb& verb) {
  auto options = verb.cli.options_of_all_words();
  if (!options) return report(options.error());
  if (options->id < 0)
    return report(bad_input("no device named", "give -n ID: the same at each start").error());
  const auto waits = to_be_taken_over(options->id);
  if (!waits) return report(waits.error());
  if (*waits) return recover_device(verb);
  if (options->device.recovery == Recovery::none) {
    options->device.recovery = Recovery::reissue;
    options->words.emplace_back("--recovery=reissue");
  }
  return add_device(verb, std::move(*options));
}

// --- upgrade -------------------------------------------------------------------------------------

struct Upgrade {
  control::Quiesced quiesced;
  std::uint64_t handover_ns = 0;
  Blackout blackout;
};

bool is_batch(const ublksrv_ctrl_dev_info& device) { return (device.flags & UBLK_F_BATCH_IO) != 0; }

/// Why clients would see errors, however well the hand-over goes; nothing when they need not.
std::optional<std::string> unavoidable_errors(const ublksrv_ctrl_dev_info& device) {
  if ((device.flags & UBLK_F_USER_RECOVERY_FAIL_IO) != 0)
    return "it was added with --recovery fail-io: I/O fails while there is no server";
  if (is_batch(device) && (device.flags & UBLK_F_USER_RECOVERY_REISSUE) == 0)
    return "with batch the driver fails what is under way, unless the device was added with "
           "--recovery reissue";
  return std::nullopt;
}

Result<> check_upgrade(const ServeOptions& options, bool accept_errors) {
  if (auto possible = check_takeover(options); !possible) return possible;
  const auto device = control::info(options.id);
  if (!device) return std::unexpected(device.error());
  if (device->state != UBLK_S_DEV_LIVE)
    return bad_input(formatted("device {} has no server", options.id), "use 'recover'");
  const auto why = unavoidable_errors(*device);
  if (why && !accept_errors)
    return bad_input(formatted("upgrading device {} would show its clients errors", options.id),
                     formatted("{}; --accept-errors does it nevertheless", *why));
  return {};
}

/// Ends the server of a device that outlives it, once only. SIGKILL goes to a process that has the
/// device open, by a file descriptor: a number may be somebody else's by now.
Result<control::Quiesced> kill_server(int id, std::uint64_t timeout_ns) {
  const std::uint64_t began_ns = now_ns();
  std::optional<control::Process> killed;
  for (;;) {
    const auto now = control::info(id);
    if (!now) return std::unexpected(now.error());
    const std::uint64_t took_ns = now_ns() - began_ns;
    if (control::waits_for_recovery(*now)) return control::Quiesced{.took_ns = took_ns};
    if (!killed) {
      const auto ended = control::kill_holder(*now);
      if (!ended) return std::unexpected(ended.error());
      killed = *ended;
    }
    if (took_ns > timeout_ns)
      return killed ? failed("wait for", "the end of server " + killed->text(), ETIMEDOUT)
                    : failed("wait for", formatted("the server of device {}", id), ETIMEDOUT,
                             "no process that can be seen has it open: is it in another PID "
                             "namespace?");
    ::usleep(200);
  }
}

/// QUIESCE_DEV makes the driver fail all I/O of a batch device until the next server is there
/// (Linux 7.3, ublk_batch_cancel_queue() sets force_abort). The death of the server does not, and
/// what it had in hand is issued again.
Result<control::Quiesced> take_server_away(const ublksrv_ctrl_dev_info& device,
                                           std::uint64_t timeout_ns) {
  const int id = static_cast<int>(device.dev_id);
  return is_batch(device) ? kill_server(id, timeout_ns) : control::quiesce(id, timeout_ns);
}

Result<Server> upgrade(const ServeOptions& options, std::uint64_t timeout_ns, Upgrade& report) {
  const auto device = control::info(options.id);
  if (!device) return std::unexpected(device.error());
  const auto params = control::get_params(options.id);
  if (!params) return std::unexpected(params.error());
  auto client = BlackoutClient::start(formatted("/dev/ublkb{}", options.id),
                                      1U << params->basic.logical_bs_shift);
  if (!client) return std::unexpected(client.error());

  auto lock = control::DeviceLock::take(options.id, timeout_ns);
  if (!lock) return std::unexpected(lock.error());
  client->begin();
  const auto quiesced = take_server_away(*device, timeout_ns);
  if (!quiesced) return std::unexpected(quiesced.error());
  report.quiesced = *quiesced;
  const std::uint64_t began_ns = now_ns();
  auto server = Server::recover(options, timeout_ns, std::move(*lock));
  report.handover_ns = now_ns() - began_ns;
  if (!server) {
    Error error = server.error();
    error.hint += formatted("{}device {} waits for a server now: 'ublk-server recover -n {}'",
                            error.hint.empty() ? "" : "; ", options.id, options.id);
    return std::unexpected(error);
  }
  report.blackout = client->end();
  return server;
}

std::string described_upgrade(const Upgrade& upgrade) {
  const auto time = [](std::uint64_t ns) { return format_ns(static_cast<double>(ns)); };
  return formatted(
      "{} in {}, taken over in {}; a client's longest read took {} ({} before), {} of its {} reads "
      "failed\n",
      upgrade.quiesced.rounds != 0 ? "quiesced" : "old server ended",
      time(upgrade.quiesced.took_ns), time(upgrade.handover_ns),
      time(upgrade.blackout.longest_read_ns), time(upgrade.blackout.usual_read_ns),
      upgrade.blackout.errors, upgrade.blackout.reads);
}

nlohmann::json upgrade_json(const Upgrade& upgrade) {
  return {{"quiesce_ns", upgrade.quiesced.took_ns},
          {"quiesce_commands", upgrade.quiesced.rounds},
          {"handover_ns", upgrade.handover_ns},
          {"client_longest_read_ns", upgrade.blackout.longest_read_ns},
          {"client_usual_read_ns", upgrade.blackout.usual_read_ns},
          {"client_reads", upgrade.blackout.reads},
          {"client_errors", upgrade.blackout.errors}};
}

int upgrade_device(const ServingVerb& verb) {
  const auto timeout_ns = parse_duration_ns(verb.timeout);
  if (!timeout_ns) return report(timeout_ns.error());
  const auto options = options_again(verb);
  if (!options) return report(options.error());
  if (auto possible = check_upgrade(*options, verb.accept_errors); !possible)
    return report(possible.error());
  Upgrade outcome;
  return verb.serve({.start = [&] { return upgrade(*options, *timeout_ns, outcome); },
                     .describe =
                         [&](const Server& server) {
                           if (!verb.json)
                             return described_in_words(server, *options) +
                                    described_upgrade(outcome);
                           auto json = described(server, *options);
                           json["upgrade"] = upgrade_json(outcome);
                           return json_text(json) + '\n';
                         },
                     .keep = verb.keep});
}

void add_foreground(ServingVerb& verb) {
  verb.app->add_flag("-f,--foreground", verb.foreground, "Serve until Ctrl-C instead");
}

void add_takeover_options(ServingVerb& verb) {
  // What is not given is as the device was added.
  hide_defaults(*verb.app);
  verb.app->add_flag("--accept-other-data", verb.accept_other_data,
                     "Serve the target even if it does not hold what the device held");
  verb.app->add_option("--timeout", verb.timeout, "How long each step may take")
      ->type_name("TIME")
      ->capture_default_str();
}

}  // namespace

void add_serving_verbs(CLI::App& app, int& code) {
  const auto add = add_verb(app, "add", "Create a device and serve it in the background",
                            ServerCli::BareWord::refused);
  add_foreground(*add);
  add->app->footer(
      "When the server ends, by Ctrl-C or otherwise, its device goes away; with --recovery it "
      "stays\n"
      "and waits for 'ublk-server recover' if the server was killed.\n"
      "Examples:\n"
      "  ublk-server add -t null -q 2 -d 256\n"
      "  ublk-server add -m batch,auto_zc -t loop:/dev/nvme0n1 --foreground\n"
      "  ublk-server add -t loop:/srv/disk.img --recovery reissue\n"
      "  ublk-server add -m copy -t mem:256M -n 7 && mkfs.ext4 /dev/ublkb7");
  add->app->callback([add, &code] { code = add_device(*add); });

  const auto recover = add_verb(
      app, "recover",
      "Serve a device whose server died or was quiesced.\n"
      "Mode, target and all else are remembered from 'add'; options given here come on top");
  add_takeover_options(*recover);
  add_foreground(*recover);
  recover->app->callback([recover, &code] { code = recover_device(*recover); });

  const auto serve = add_verb(
      app, "serve",
      "Serve device -n ID in the foreground: add it, or take it over if it waits for a server.\n"
      "For service managers: the same words at each start, and readiness is told (sd_notify)");
  serve->foreground = true;
  serve->app->footer(
      "Without --recovery it is 'reissue': if the server dies, clients wait until the next start.\n"
      "SIGTERM removes the device. The unit ublk-server@.service is made of it:\n"
      "  echo 'UBLK_SERVER_OPTIONS=-m auto_zc -t loop:/srv/disk.img' > /etc/ublkbench/ublk7.conf\n"
      "  systemctl enable --now ublk-server@7");
  serve->app->callback([serve, &code] { code = serve_device(*serve); });

  const auto upgrade =
      add_verb(app, "upgrade",
               "Replace the server of a device in use by this program: quiesce, take over, go on.\n"
               "A client that reads meanwhile measures for how long nobody served");
  add_takeover_options(*upgrade);
  add_foreground(*upgrade);
  upgrade->app->add_flag("--accept-errors", upgrade->accept_errors,
                         "Go on even where clients cannot be spared errors");
  upgrade->app->callback([upgrade, &code] { code = upgrade_device(*upgrade); });
}

}  // namespace ublkbench
