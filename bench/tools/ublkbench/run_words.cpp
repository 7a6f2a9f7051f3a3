// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/run_words.hpp"

#include <algorithm>

#include "bench/cli/words.hpp"

namespace ublkbench {
namespace {

/// What describes our own server.
const std::vector<std::string> server_words{
    "--mode",       "--target",      "--queues",          "--daemons", "--max-io",
    "--spin-us",    "--wait-count",  "--wait-us",         "--wake-by", "--fetches",
    "--fetch-tags", "--server-cpus", "--auto-zc-fallback"};

/// Whether a mode that was asked for passes; with --mode all some do.
template <class Predicate>
bool any_mode(const RunOptions& options, Predicate&& passes) {
  return options.every_mode || std::ranges::any_of(options.modes, passes);
}

std::vector<Idle> of_modes(const RunOptions& options) {
  const bool batch = any_mode(options, [](const Mode& m) { return m.delivers().batch; });
  const bool auto_zc = any_mode(options, [](const Mode& m) { return m.buffers().falls_back; });
  const bool offload = any_mode(options, [](const Mode& m) { return m.places().worker; });
  std::vector<Idle> rows =
      all_idle({"--fetches", "--fetch-tags"}, !batch, "no --mode has the word batch");
  rows.push_back({"--auto-zc-fallback", !auto_zc, "no --mode has the word auto_zc"});
  rows.push_back({"--wake-by", !offload, "no --mode has the word offload"});
  rows.push_back(
      {"--wait-us", options.server.waiting.count <= 1, "it bounds a --wait-count of 2 or more"});
  return rows;
}

std::vector<Idle> of_load(const RunRequest& request) {
  const RunOptions& options = request.options;
  const bool mixed = std::ranges::any_of(options.patterns, load::is_mixed);
  const bool own_devices_only =
      options.device.empty() && (options.control == "null_blk" || options.control == "none");
  return {{"--allow-split", own_devices_only, "a device of this run takes up to --max-io at once"},
          {"--rwmixread", !mixed, "no --rw is rw or randrw"},
          {"--hang-dump-timeout", options.hang_dump.program == "off",
           "with --hang-dump off nobody is asked"},
          {"--format", request.store.json_path == "-",
           "--json - prints the record in place of the table"}};
}

}  // namespace

Result<> check_run_words(const CLI::App& app, const RunRequest& request) {
  const bool external = !request.options.device.empty();
  std::vector<Idle> rows =
      all_idle(server_words, external, "with --device somebody else serves the device");
  std::ranges::move(of_load(request), std::back_inserter(rows));
  if (!external) std::ranges::move(of_modes(request.options), std::back_inserter(rows));
  return refuse_idle(app, rows);
}

}  // namespace ublkbench
