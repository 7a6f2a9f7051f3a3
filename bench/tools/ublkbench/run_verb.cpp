// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/run_verb.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "analyzers/record.hpp"
#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/base/units.hpp"
#include "bench/control/control.hpp"
#include "bench/control/orphans.hpp"
#include "bench/process/child.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/record/environment.hpp"
#include "bench/record/tool_identity.hpp"
#include "bench/server/planted.hpp"
#include "bench/server/removal.hpp"
#include "bench/suite/borrowed_scheduler.hpp"
#include "bench/suite/estimate.hpp"
#include "bench/suite/null_block.hpp"
#include "bench/suite/preconditions.hpp"
#include "bench/suite/sample.hpp"
#include "bench/suite/work.hpp"
#include "bench/suite/writing.hpp"
#include "bench/tools/ublkbench/explain_verb.hpp"
#include "bench/tools/ublkbench/output.hpp"
#include "bench/tools/ublkbench/progress.hpp"

namespace ublkbench {
namespace {

void note(const std::string& text) { say("ublkbench: note: {}", text); }

// A load that was killed ends when the driver has failed its I/O.
constexpr std::uint64_t left_behind_ns = 1'000'000'000;

std::string utc_now() {
  return formatted("{:%FT%TZ}",
                   std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()));
}

/// Fills in --mode all; says which modes it leaves out and why.
Result<std::vector<LeftOutMode>> choose_modes(RunRequest& request) {
  std::vector<LeftOutMode> left_out;
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
    left_out.push_back({.mode = mode.name(), .why = can.error().message()});
  }
  return left_out;
}

/// --device: what it is, before anything is said of it.
Result<> look_at_foreign(RunOptions& options) {
  if (options.device.empty()) return {};
  auto device = look_at_device(options.device);
  if (!device) return std::unexpected(device.error());
  options.foreign = std::move(*device);
  return {};
}

void clean_up_null_blocks() {
  const StaleNullBlocks stale = remove_stale_null_blocks();
  if (stale.removed != 0)
    note(formatted("removed {} null_blk device(s), left by a run that was killed", stale.removed));
  for (const std::string& spared : stale.spared) note("left alone: " + spared);
}

/// What killed runs left behind goes first, or ids and names would be taken. All others are named:
/// they may be left over as well, or disturb the figures. `measured` is this run's business anyway.
void clean_up_orphans(const std::string& measured) {
  std::string spared;
  for (const auto& [id, verdict] : control::judge_devices()) {
    if (measured == formatted("/dev/ublkb{}", id)) continue;
    if (!verdict.orphan) {
      spared += formatted("{}{} ({})", spared.empty() ? "" : ", ", id, verdict.why);
      continue;
    }
    const auto removed = remove_device(id, {.only_orphan = true});
    note(removed ? formatted("removed device {}, left by a run that was killed", id)
                 : formatted("device {} was left by a killed run and cannot be removed: {}", id,
                             removed.error().message()));
  }
  if (!spared.empty())
    note(formatted("other ublk devices, left alone; they may disturb the figures: {}", spared));
  for (const std::string& told : put_back_left_schedulers()) note(told);
  clean_up_null_blocks();
}

/// Without null_blk the run goes on without its control, and says so.
void check_control(RunOptions& options) {
  if (options.control != "null_blk") return;
  const auto probe = NullBlock::create(1, 1, 1 << 20);
  if (probe || process::interrupted()) return;
  note("no control cell: " + probe.error().message());
  options.control = "none";
}

/// A word that the kernel does not offer is refused before the matrix, where a device to try it on
/// can be made.
Result<> check_scheduler(const RunOptions& options) {
  std::optional<Result<NullBlock>> probe;
  for (const Axes& setting : options.settings) {
    if (setting.scheduler.empty() || setting.scheduler == keep_scheduler) continue;
    if (!probe) probe = NullBlock::create(1, 1, 1 << 20);
    if (!*probe) return {};
    if (auto chosen = choose_scheduler((*probe)->path(), setting.scheduler); !chosen)
      return std::unexpected(chosen.error());
  }
  return {};
}

/// Devices that somebody else made get the scheduler of their first cell now, which says whether
/// that can be, and their own back at the end.
Result<BorrowedSchedulers> borrow_schedulers(const Plan& plan) {
  BorrowedSchedulers borrowed;
  for (const Cell& cell : plan.cells) {
    if (cell.kind == Cell::Kind::ublk || cell.target == "null_blk") continue;
    const auto [found, is_new] = borrowed.try_emplace(cell.target, cell.target);
    if (!is_new) continue;
    if (auto put = found->second.put(cell.scheduler()); !put) return std::unexpected(put.error());
    if (const std::string text = found->second.note(); !text.empty()) note(text);
  }
  return borrowed;
}

RunRecord describe_run(const RunRequest& request, const std::vector<std::string>& argv,
                       const Plan& plan) {
  RunRecord run = describe_work(request.options);
  run.id = formatted("{}-{}", utc_now(), ::getpid());
  run.started = utc_now();
  run.argv = argv;
  run.tool = tool_identity();
  if (request.options.foreign) request.options.foreign->describe(run.device.emplace());
  if (const auto planted = planted_instructions()) run.planted_instructions = *planted;
  if (auto holed = targets_with_holes(plan); !holed.empty())
    run.work.targets_with_holes = std::move(holed);
  return run;
}

int dry_run(const RunOptions& options, const Plan& plan) {
  print_line("{} cells x {} rounds = {} samples, {}", plan.cells.size(), plan.rounds.size(),
             plan.samples(), in_words(estimate_of(options, plan)));
  for (const Cell& cell : plan.cells)
    print_line("  {}: {}", cell.name(), writes_in_words(options, cell));
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
  // Another container that shares the folder may have the same pid.
  return formatted("{}/ublkbench-{}-{:08x}.hang-", error ? "/tmp" : folder.string(), ::getpid(),
                   std::random_device()());
}

std::string outcome_of(const SampleRecord& record) {
  if (record.status == SampleStatus::ok && record.load)
    return format_count(record.load->iops()) + " IOPS";
  return formatted("{}: {}", name_of(record.status), record.reason.value_or(""));
}

/// What fails once the user interrupted, fails of that.
int give_up(const Error& error) {
  return report(process::interrupted() ? error.with_exit(ExitCode::interrupted) : error);
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
  Run(const RunOptions& options, const Plan& plan, Store& store, BorrowedSchedulers& borrowed)
      : plan_(plan),
        store_(store),
        sampler_(options, borrowed),
        progress_(plan.samples() - store.resumed(),
                  estimate_of(options, plan).ns / plan.samples()) {}

  Result<ExitCode> measure_all() {
    for (std::size_t round = 0; round < plan_.rounds.size(); ++round)
      for (const std::size_t index : plan_.rounds[round]) {
        if (store_.has(plan_.cells[index].name(), round)) continue;
        if (auto stored = measure(plan_.cells[index], round); !stored)
          return std::unexpected(stored.error());
        if (process::interrupted()) return worse(exit_, ExitCode::interrupted);
      }
    return exit_;
  }

 private:
  Result<> measure(const Cell& cell, std::size_t round) {
    progress_.begin(++started_, formatted("round {} {}", round + 1, cell.name()));
    Sample sample = sampler_.measure(cell);
    sample.record.round = round;
    sample.record.order = started_ - 1;
    exit_ = worse(exit_, sample.exit);
    progress_.end(outcome_of(sample.record));
    if (sample.record.hang_dump) tell_of(*sample.record.hang_dump);
    if (sample.record.device && sample.record.device->scheduler)
      tell_of(*sample.record.device->scheduler);
    return store_.add(sample.record);
  }

  void tell_of(const SchedulerChoice& scheduler) {
    if (scheduler.why_not && told_.insert(*scheduler.why_not).second)
      progress_.note("the I/O scheduler is not 'none': " + *scheduler.why_not);
  }

  void tell_of(const HangDump& dump) {
    if (dump.status != HangDump::Status::taken)
      return progress_.note("no dump of the hang: " + dump.reason.value_or(""));
    progress_.note("ublk-dump of the hang: " + dump.verdict.value_or(""));
    if (dump.recording)
      progress_.note(formatted("all of it: ublk-dump --replay {}", *dump.recording));
  }

  const Plan& plan_;
  Store& store_;
  Sampler sampler_;
  Progress progress_;
  std::size_t started_ = 0;
  std::set<std::string> told_;
  ExitCode exit_ = ExitCode::ok;
};

}  // namespace

int print_results(const RunRequest& request, const Store& store) {
  using analyzers::TableFormat;
  if (request.store.json_path == "-" || request.table.format == TableFormat::record)
    return print(store.document());
  const Result<analyzers::Record> record = store.results();
  if (!record) return report(record.error());
  const std::string table = analyzers::run_table(*record, request.table);
  return print(request.table.format == TableFormat::text ? table + explain_probed(*record) : table);
}

int run_matrix(RunRequest request, const std::vector<std::string>& argv, const Show& show) {
  process::handle_interrupts();
  auto left_out = choose_modes(request);
  if (!left_out) return give_up(left_out.error());
  RunOptions& options = request.options;
  if (auto looked = look_at_foreign(options); !looked) return give_up(looked.error());
  // Everything that needs no device of ours is checked before anything is touched.
  const auto wanted = make_plan(options);
  if (!wanted) return give_up(wanted.error());
  if (auto checked = check_locked_memory(options); !checked) return give_up(checked.error());
  if (auto checked = check_targets(options); !checked) return give_up(checked.error());
  if (auto checked = check_preconditions(options, *wanted); !checked)
    return give_up(checked.error());
  if (auto checked = check_hang_dump(options.hang_dump); !checked) return give_up(checked.error());
  options.hang_dump.prefix = recording_prefix(request.store);
  if (!request.dry_run) {
    clean_up_orphans(options.device);
    check_control(options);
    if (auto checked = check_scheduler(options); !checked) return give_up(checked.error());
  }
  if (process::interrupted()) return report(process::interruption("the set-up").error());
  const auto plan = make_plan(options);
  if (!plan) return give_up(plan.error());
  for (const auto& [what, why] : plan->left_out) {
    note(formatted("{} is left out: {}", what, why));
    left_out->push_back({.mode = what, .why = why});
  }
  if (request.dry_run) return dry_run(options, *plan);

  RunRecord run = describe_run(request, argv, *plan);
  run.modes_left_out = std::move(*left_out);
  auto store = Store::open(request.store, std::move(run), capture_environment(), *plan);
  if (!store) return give_up(store.error());
  if (store->resumed() != 0) note(formatted("{} samples taken over", store->resumed()));

  auto borrowed = borrow_schedulers(*plan);
  if (!borrowed) return give_up(borrowed.error());
  const auto exit = Run(options, *plan, *store, *borrowed).measure_all();
  borrowed->clear();
  if (process::interrupted()) (void)process::await_left_behind(left_behind_ns);
  const int shown = show(request, *store);
  // The record could not be written any more; what was measured until then is in the table.
  if (!exit) return report(exit.error());
  return *exit != ExitCode::ok ? static_cast<int>(*exit) : shown;
}

}  // namespace ublkbench
