// SPDX-License-Identifier: MIT
#include "bench/suite/plan.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <set>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/units.hpp"
#include "bench/record/axes_json.hpp"
#include "bench/server/daemon.hpp"
#include "bench/server/device_record.hpp"
#include "bench/suite/scheduler.hpp"
#include "bench/suite/writing.hpp"

namespace ublkbench {
namespace {

/// One control cell for each way of loading a device: what the same load costs without ublk.
/// Holds what verify_device() has in flight, in its largest blocks.
constexpr std::uint64_t shared_memory_min_bytes = 64U << 20;

std::vector<Cell> control_cells(const RunOptions& options, const std::vector<Cell>& cells) {
  std::vector<Cell> controls;
  if (options.control == "none") return controls;
  std::set<std::string> seen;
  for (const Cell& cell : cells) {
    Cell control = cell;
    control.kind = Cell::Kind::control;
    control.mode = {};
    control.target = options.control;
    control.probes.clear();
    control.data = data_of_device(options.control);
    if (seen.insert(control.name()).second) controls.push_back(control);
  }
  return controls;
}

Result<> validate_cell(const RunOptions& options, const Cell& cell) {
  if (auto may = check_writes(options, cell); !may) return may;
  if (cell.kind == Cell::Kind::ublk) {
    const ServeOptions serve = serve_options(options, cell);
    if (auto valid = validate(serve); !valid) return valid;
    if (const auto why = refusal(cell.mode))
      return bad_input(formatted("mode '{}' is not possible: {}", cell.mode.name(), *why));
    if (cell.block_bytes > serve.max_io_bytes)
      return bad_input(formatted("block size {} is larger than the device's largest I/O, {}",
                                 format_size(cell.block_bytes), format_size(serve.max_io_bytes)),
                       "raise --max-io (up to 32M) or use a smaller --bs");
  }
  return load::validate(load_options(options, cell, cell.target));
}

/// Every round holds all cells, so drift of the machine meets all of them alike.
std::vector<std::vector<std::size_t>> shuffled_rounds(std::size_t cells, unsigned rounds,
                                                      std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::size_t> order(cells);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::vector<std::size_t>> all;
  for (unsigned round = 0; round < rounds; ++round) {
    // Written out, because std::shuffle may differ between standard libraries.
    for (std::size_t last = cells; last > 1; --last)
      std::swap(order[last - 1], order[random() % last]);
    all.push_back(order);
  }
  return all;
}

/// Whether RLIMIT_MEMLOCK does not count for this process (io_uring/rsrc.c, __io_account_mem).
bool may_lock_memory() {
  constexpr unsigned cap_ipc_lock = 14;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("CapEff:"))
      return (std::strtoull(line.c_str() + 7, nullptr, 16) >> cap_ipc_lock & 1) != 0;
  return false;
}

}  // namespace

std::string Cell::mode_name() const {
  return kind == Kind::ublk ? mode.name() : formatted("({})", target);
}

Axes Cell::axes() const {
  constexpr std::string_view kinds[] = {"ublk", "control", "external"};
  Axes axes = setting;
  axes.kind = kinds[static_cast<int>(kind)];
  axes.mode = mode_name();
  axes.target = target;
  axes.depth = depth;
  axes.block_bytes = block_bytes;
  axes.pattern = load::name_of(pattern);
  axes.probes = probes;
  return axes;
}

std::string Cell::scheduler() const {
  return setting.scheduler.empty() ? no_scheduler : setting.scheduler;
}

std::string Cell::name() const { return axes().name(); }

std::string Cell::document() const {
  constexpr std::string_view owners[] = {"none", "run", "user"};
  nlohmann::json object = axes();
  // Somebody else's device has no mode of ours.
  if (kind != Kind::ublk) object["mode"] = nullptr;
  object.update({{"id", name()},
                 {"probes", probes},
                 {"data", owners[static_cast<int>(data.owner)]},
                 {"read_only", data.read_only}});
  return json_text(object);
}

/// What a probe costs shows only beside the same cell without it, in the same run.
std::vector<Cell> with_probed_twins(const std::vector<Cell>& cells, const std::string& probes) {
  std::vector<Cell> all;
  for (const Cell& cell : cells) {
    all.push_back(cell);
    if (probes.empty()) continue;
    all.push_back(cell);
    all.back().probes = probes;
  }
  return all;
}

/// A target's data cannot always be reached through a ring that polls. A mode that was asked for by
/// name is refused then; one of --mode all is left out for that target.
Result<> leave_out_unpollable(const RunOptions& options, Plan& plan) {
  std::map<std::pair<std::string, Data::Place>, std::optional<Error>> known;
  std::vector<Cell> kept;
  for (Cell& cell : plan.cells) {
    if (!cell.mode.reaps().polls) {
      kept.push_back(std::move(cell));
      continue;
    }
    const Data::Place place = data_place(cell.mode);
    auto [found, is_new] = known.try_emplace({cell.target, place});
    if (is_new) {
      const auto target = make_target(cell.target, look_only);
      if (!target) return std::unexpected(target.error());
      if (auto can = (*target)->pollable(place); !can) found->second = can.error();
    }
    if (!found->second) {
      kept.push_back(std::move(cell));
      continue;
    }
    if (!options.every_mode) return std::unexpected(*found->second);
    plan.left_out[formatted("mode '{}' on target {}", cell.mode.name(), cell.target)] =
        found->second->message();
  }
  plan.cells = std::move(kept);
  return {};
}

/// Whose the data of each cell is; each target is looked at once.
Result<> find_data(Plan& plan) {
  std::map<std::string, CellData> known;
  for (Cell& cell : plan.cells) {
    const auto [found, is_new] = known.try_emplace(cell.target);
    if (is_new && cell.kind == Cell::Kind::ublk) {
      const auto data = data_of_target(cell.target);
      if (!data) return std::unexpected(data.error());
      found->second = *data;
    } else if (is_new) {
      found->second = data_of_device(cell.target);
    }
    cell.data = found->second;
  }
  return {};
}

Result<Plan> make_plan(const RunOptions& options) {
  Plan plan;
  const bool external = !options.device.empty();
  // With somebody else's device there is neither a mode nor a target of ours.
  const std::vector<Mode> modes = external ? std::vector<Mode>(1) : options.modes;
  const std::vector<std::string> targets = external ? std::vector{options.device} : options.targets;
  for (const std::string& target : targets)
    for (const std::uint64_t block_bytes : options.block_bytes)
      for (const load::Pattern pattern : options.patterns)
        for (const unsigned depth : options.depths)
          for (const Axes& setting : options.settings)
            for (const Mode& mode : modes)
              plan.cells.push_back({.kind = external ? Cell::Kind::external : Cell::Kind::ublk,
                                    .mode = mode,
                                    .target = target,
                                    .depth = depth,
                                    .block_bytes = block_bytes,
                                    .pattern = pattern,
                                    .setting = setting});
  if (plan.cells.empty()) return bad_input("nothing to measure", "give at least one --mode");
  if (auto found = find_data(plan); !found) return std::unexpected(found.error());
  std::set<std::string> names;
  if (!external)
    if (auto polled = leave_out_unpollable(options, plan); !polled)
      return std::unexpected(polled.error());
  for (const Cell& cell : plan.cells) {
    if (!names.insert(cell.name()).second)
      return bad_input(formatted("cell '{}' is asked for twice", cell.name()));
    if (auto valid = validate_cell(options, cell); !valid) return std::unexpected(valid.error());
  }
  plan.cells = with_probed_twins(plan.cells, options.probes);
  for (Cell& control : control_cells(options, plan.cells)) {
    if (auto may = check_writes(options, control); !may) return std::unexpected(may.error());
    plan.cells.push_back(std::move(control));
  }
  if (options.repeat < 1) return bad_input("--repeat 0", "at least one round is needed");
  plan.rounds = shuffled_rounds(plan.cells.size(), options.repeat, options.seed);
  return plan;
}

Result<> check_locked_memory(const RunOptions& options) {
  rlimit limit{};
  if (!options.load.fixed_buffers || ::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return {};
  if (limit.rlim_cur == RLIM_INFINITY || may_lock_memory()) return {};
  const std::uint64_t needed =
      options.load.jobs * std::ranges::max(options.depths) * std::ranges::max(options.block_bytes);
  if (needed <= limit.rlim_cur) return {};
  return unsupported(
      formatted("locked-memory limit of {} bytes; the load's registered buffers need {}",
                static_cast<std::uint64_t>(limit.rlim_cur), needed),
      "raise it (ulimit -l unlimited) or use --no-fixed-bufs");
}

/// As the load will open it: a device in use is refused now if it will be written.
Result<> check_device(const RunOptions& options, const std::string& path) {
  const bool writes = std::ranges::any_of(options.patterns, load::writes);
  auto device = load::open_device(path, writes ? load::Access::write : load::Access::read,
                                  options.load.direct);
  if (device) return {};
  const bool missing = device.error().errnum == ENOENT;
  return std::unexpected(missing ? device.error().with_exit(ExitCode::usage) : device.error());
}

Result<> check_targets(const RunOptions& options) {
  if (!options.device.empty()) return check_device(options, options.device);
  if (options.control != "null_blk" && options.control != "none")
    if (auto checked = check_device(options, options.control); !checked) return checked;
  for (const std::string& spec : options.targets) {
    // Held for a moment, as it will be served: what others use is refused now.
    const auto target = make_target(spec, {.writes = options.load.destructive});
    if (!target) return std::unexpected(target.error());
    const DeviceShape shape = (*target)->shape();
    if (auto others = refuse_shared(file_identities(**target, nullptr), shape.read_only, -1);
        !others)
      return others;
    for (const std::uint64_t bytes : options.block_bytes) {
      if (bytes % (1U << shape.logical_block_shift) != 0)
        return bad_input(formatted("block size {} on target {}", bytes, spec),
                         formatted("its logical blocks have {} bytes: use a multiple",
                                   1U << shape.logical_block_shift));
      if (bytes > shape.bytes)
        return bad_input(formatted("block size {} is larger than target {}", bytes, spec));
    }
  }
  return {};
}

ServeOptions serve_options(const RunOptions& options, const Cell& cell) {
  ServeOptions serve = options.server;
  serve.mode = cell.mode;
  serve.target = cell.target;
  // The driver refuses a batch queue of depth 1 (its fifo of tags needs two places); one I/O in
  // flight is then one of two tags, and the record has both numbers.
  const bool batch = cell.mode.delivers().batch;
  serve.depth = batch ? std::max(cell.depth, 2U) : cell.depth;
  serve.partition_scan = false;
  // What may not be written is served read-only: then nobody writes to it, by mistake or otherwise.
  serve.device.read_only = cell.data.read_only || !may_write(options, cell);
  if (!cell.mode.buffers().falls_back) serve.auto_zc_fallback = false;
  if (!batch) serve.batch = {};
  // The buffers of the load and of the verification, whichever needs more.
  const std::uint64_t load_bytes = options.load.jobs * std::uint64_t{cell.depth} * cell.block_bytes;
  serve.shared_memory_bytes =
      std::max(std::bit_ceil(load_bytes), std::uint64_t{shared_memory_min_bytes});
  return serve;
}

load::LoadOptions load_options(const RunOptions& options, const Cell& cell,
                               const std::string& device) {
  load::LoadOptions load = options.load;
  load.device = device;
  load.depth = cell.depth;
  load.block_bytes = cell.block_bytes;
  load.pattern = cell.pattern;
  load.seed = options.seed;
  load.destructive = may_write(options, cell);
  return load;
}

}  // namespace ublkbench
