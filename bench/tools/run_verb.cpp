// SPDX-License-Identifier: MIT
#include "bench/tools/run_verb.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <format>
#include <nlohmann/json.hpp>
#include <print>

#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/record/environment.hpp"
#include "bench/record/tool_identity.hpp"
#include "bench/server/planted.hpp"
#include "bench/suite/child.hpp"
#include "bench/suite/null_block.hpp"
#include "bench/suite/sample.hpp"
#include "bench/suite/usage.hpp"
#include "bench/tools/explain_verb.hpp"
#include "bench/tools/output.hpp"
#include "bench/tools/progress.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

void note(const std::string& text) { std::println(stderr, "ublkbench: note: {}", text); }

std::string utc_now() {
  return std::format("{:%FT%TZ}",
                     std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
}

/// Fills in --mode all; says which modes it leaves out and why.
Result<json> choose_modes(RunRequest& request) {
  json left_out = json::array();
  if (!request.options.device.empty()) return left_out;
  if (auto present = control::driver_present(); !present) return std::unexpected(present.error());
  const control::KernelAbilities kernel = control::abilities();
  if (!request.options.every_mode) {
    for (const Mode& mode : request.options.modes)
      if (auto can = usable(mode, kernel); !can) return std::unexpected(can.error());
    return left_out;
  }
  for (const Mode& mode : all_modes()) {
    if (std::ranges::find(request.options.modes, mode) != request.options.modes.end()) continue;
    const auto can = usable(mode, kernel);
    if (can) {
      request.options.modes.push_back(mode);
      continue;
    }
    // What another kernel would run is worth a line; the rest is what 'ublkbench modes' is for.
    if (!unserved(mode) && !refusal(mode)) note(can.error().message());
    left_out.push_back({{"mode", mode.name()}, {"why", can.error().message()}});
  }
  return left_out;
}

/// What killed runs left behind goes first, or ids and names would be taken.
void clean_up_orphans() {
  for (const int id : control::orphans()) {
    (void)control::stop(id);
    const auto removed = control::remove(id);
    if (removed)
      note(std::format("removed device {}, left by a run that was killed", id));
    else
      note(std::format("device {} was left by a killed run and cannot be removed: {}", id,
                       removed.error().message()));
  }
  if (const unsigned removed = remove_stale_null_blocks(); removed != 0)
    note(std::format("removed {} null_blk device(s), left by a run that was killed", removed));
}

/// Without null_blk the run goes on without its control, and says so.
void check_control(RunOptions& options) {
  if (options.control != "null_blk") return;
  const auto probe = NullBlock::create(1, 1, 1 << 20);
  if (probe) return;
  note("no control cell: " + probe.error().message());
  options.control = "none";
}

/// What decides how much work an I/O is, besides the cell: two runs are comparable if it is equal.
json describe_work(const RunOptions& options) {
  const load::LoadOptions& load = options.load;
  json work = {
      {"rw_mix_read_percent", load.rw_mix_read_percent},
      {"submit_batch", load.submit_batch},
      {"complete_batch", load.complete_batch},
      {"fixed_buffers", load.fixed_buffers},
      {"registered_file", load.registered_file},
      {"direct", load.direct},
      {"hipri", load.hipri},
      {"load_cpus", load.job_cpus},
      {"max_io_bytes", options.server.max_io_bytes},
      {"auto_zc_fallback", options.server.auto_zc_fallback},
      {"warmup_ns", load.ios == 0 ? json(load.warmup_ns) : json()},
      {"warmup_ios",
       load.warmup_ios == load::LoadOptions::default_warmup ? json() : json(load.warmup_ios)}};
  return work;
}

json describe_run(const RunRequest& request, const std::vector<std::string>& argv, json left_out) {
  const RunOptions& options = request.options;
  const auto shift = icount_shift();
  json run = {
      {"id", std::format("{}-{}", utc_now(), ::getpid())},
      {"started", utc_now()},
      {"argv", argv},
      {"seed", options.seed},
      {"repeat", options.repeat},
      {"queues", options.server.queues},
      {"daemons", options.server.daemon_count()},
      {"jobs", options.load.jobs},
      {"ios", options.load.ios},
      {"runtime_ns", options.load.runtime_ns},
      {"rate_iops", options.load.rate_iops},
      {"loop", options.load.rate_iops == 0 ? "closed" : "open"},
      {"latency_recorded", options.load.record_latency},
      {"work", describe_work(options)},
      {"clock", shift ? std::format("icount shift {}: times are instructions, not seconds", *shift)
                      : std::string()},
      {"tool", tool_json()},
      {"modes_left_out", std::move(left_out)}};
  if (const auto planted = planted_instructions()) run["planted_instructions"] = *planted;
  return run;
}

int dry_run(const RunOptions& options, const Plan& plan) {
  std::println("{} cells x {} rounds = {} samples, about {} s", plan.cells.size(),
               plan.rounds.size(), plan.samples(),
               (plan.samples() * estimated_sample_ns(options) + 999'999'999) / 1'000'000'000);
  for (const Cell& cell : plan.cells) std::println("  {}", cell.name());
  return 0;
}

/// Recordings of hangs lie beside the record; of a run without one, in the temporary folder.
std::string recording_prefix(const StoreOptions& store) {
  std::error_code error;
  if (!store.folder.empty()) return store.folder + "/hang-";
  const std::filesystem::path record = store.json_path;
  if (!record.empty() && store.json_path != "-" &&
      (!std::filesystem::exists(record, error) || std::filesystem::is_regular_file(record, error)))
    return store.json_path + ".hang-";
  const auto folder = std::filesystem::temp_directory_path(error);
  return std::format("{}/ublkbench-{}.hang-", error ? "/tmp" : folder.string(), ::getpid());
}

std::string outcome_of(const json& record) {
  if (record.value("status", "") != "ok")
    return record.value("status", std::string("?")) + ": " + record.value("reason", std::string());
  return format_count(record["load"].value("iops", 0.0)) + " IOPS";
}

/// The most serious exit of all samples: a hang before an error before an interruption.
ExitCode worse(ExitCode a, ExitCode b) {
  constexpr ExitCode order[] = {ExitCode::hang, ExitCode::io, ExitCode::interrupted,
                                ExitCode::environment, ExitCode::usage};
  for (const ExitCode code : order)
    if (a == code || b == code) return code;
  return ExitCode::ok;
}

class Run {
 public:
  Run(const RunOptions& options, const Plan& plan, Store& store)
      : plan_(plan),
        store_(store),
        sampler_(options),
        progress_(plan.samples() - store.resumed(), estimated_sample_ns(options)) {}

  Result<ExitCode> measure_all() {
    for (std::size_t round = 0; round < plan_.rounds.size(); ++round)
      for (const std::size_t index : plan_.rounds[round]) {
        if (store_.has(plan_.cells[index].name(), round)) continue;
        if (auto stored = measure(plan_.cells[index], round); !stored)
          return std::unexpected(stored.error());
        if (interrupted()) return worse(exit_, ExitCode::interrupted);
      }
    return exit_;
  }

 private:
  Result<> measure(const Cell& cell, std::size_t round) {
    progress_.begin(++started_, std::format("round {} {}", round + 1, cell.name()));
    Sample sample = sampler_.measure(cell);
    sample.record["round"] = round;
    sample.record["order"] = started_ - 1;
    exit_ = worse(exit_, sample.exit);
    progress_.end(outcome_of(sample.record));
    if (sample.record.contains("hang_dump")) tell_of(sample.record);
    return store_.add(std::move(sample.record));
  }

  void tell_of(const json& record) {
    const json& dump = record["hang_dump"];
    if (dump["status"] != "taken")
      return progress_.note("no dump of the hang: " + dump.value("reason", std::string()));
    progress_.note("ublk-dump of the hang: " + dump.value("verdict", std::string()));
    if (dump["recording"].is_string())
      progress_.note(
          std::format("all of it: ublk-dump --replay {}", dump["recording"].get<std::string>()));
  }

  const Plan& plan_;
  Store& store_;
  Sampler sampler_;
  Progress progress_;
  std::size_t started_ = 0;
  ExitCode exit_ = ExitCode::ok;
};

}  // namespace

int print_results(const RunRequest& request, const Store& store) {
  const json& document = store.document();
  if (request.store.json_path == "-") return print(render(document, TableFormat::json));
  const std::string table = render(document, request.format);
  return print(request.format == TableFormat::text ? table + explain_probed(document) : table);
}

int run_matrix(RunRequest request, const std::vector<std::string>& argv, const Show& show) {
  handle_interrupts();
  auto left_out = choose_modes(request);
  if (!left_out) return report(left_out.error());
  RunOptions& options = request.options;
  // Everything that needs no device is checked before anything is touched.
  if (auto checked = make_plan(options); !checked) return report(checked.error());
  if (auto checked = check_locked_memory(options); !checked) return report(checked.error());
  if (auto checked = check_targets(options); !checked) return report(checked.error());
  if (auto checked = check_hang_dump(options.hang_dump); !checked) return report(checked.error());
  options.hang_dump.prefix = recording_prefix(request.store);
  if (!request.dry_run) {
    clean_up_orphans();
    check_control(options);
  }
  const auto plan = make_plan(options);
  if (!plan) return report(plan.error());
  for (const auto& [what, why] : plan->left_out) {
    note(std::format("{} is left out: {}", what, why));
    left_out->push_back({{"mode", what}, {"why", why}});
  }
  if (request.dry_run) return dry_run(options, *plan);

  auto store = Store::open(request.store, describe_run(request, argv, *left_out),
                           capture_environment(), *plan);
  if (!store) return report(store.error());
  if (store->resumed() != 0) note(std::format("{} samples taken over", store->resumed()));

  const auto exit = Run(options, *plan, *store).measure_all();
  if (!exit) return report(exit.error());
  const int shown = show(request, *store);
  return *exit != ExitCode::ok ? static_cast<int>(*exit) : shown;
}

}  // namespace ublkbench
