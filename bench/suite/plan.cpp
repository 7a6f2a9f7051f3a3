// SPDX-License-Identifier: MIT
#include "bench/suite/plan.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <format>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <set>
#include <utility>

#include "bench/base/units.hpp"
#include "bench/server/daemon.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t start_stop_ns = 500'000'000;

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
    if (seen.insert(control.name()).second) controls.push_back(control);
  }
  return controls;
}

Result<> validate_cell(const RunOptions& options, const Cell& cell) {
  if (cell.kind == Cell::Kind::ublk) {
    const ServeOptions serve = serve_options(options, cell);
    if (auto valid = validate(serve); !valid) return valid;
    if (const auto why = refusal(cell.mode))
      return bad_input(std::format("mode '{}' is not possible: {}", cell.mode.name(), *why));
    if (cell.block_bytes > serve.max_io_bytes)
      return bad_input(std::format("block size {} is larger than the device's largest I/O, {}",
                                   format_size(cell.block_bytes), format_size(serve.max_io_bytes)),
                       "raise --max-io (up to 32M) or use a smaller --bs");
  }
  return load::validate(load_options(options, cell, "-"));
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
  return kind == Kind::ublk ? mode.name() : std::format("({})", target);
}

std::string Cell::name() const {
  return std::format("{} {}qd={} bs={} {}{}", mode_name(), kind == Kind::ublk ? target + ' ' : "",
                     depth, format_size(block_bytes), load::name_of(pattern),
                     probes.empty() ? "" : " probes=" + probes);
}

nlohmann::json Cell::to_json() const {
  constexpr std::string_view kinds[] = {"ublk", "control", "external"};
  return {{"id", name()},
          {"kind", kinds[static_cast<int>(kind)]},
          {"mode", kind == Kind::ublk ? nlohmann::json(mode.name()) : nlohmann::json()},
          {"target", target},
          {"depth", depth},
          {"block_bytes", block_bytes},
          {"pattern", load::name_of(pattern)},
          {"probes", probes}};
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
    if (cell.mode.reaping == ReapMode::interrupt) {
      kept.push_back(std::move(cell));
      continue;
    }
    const Data::Place place = data_place(cell.mode);
    auto [found, is_new] = known.try_emplace({cell.target, place});
    if (is_new) {
      const auto target = make_target(cell.target);
      if (!target) return std::unexpected(target.error());
      if (auto can = (*target)->pollable(place); !can) found->second = can.error();
    }
    if (!found->second) {
      kept.push_back(std::move(cell));
      continue;
    }
    if (!options.every_mode) return std::unexpected(*found->second);
    plan.left_out[std::format("mode '{}' on target {}", cell.mode.name(), cell.target)] =
        found->second->message();
  }
  plan.cells = std::move(kept);
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
          for (const Mode& mode : modes)
            plan.cells.push_back({.kind = external ? Cell::Kind::external : Cell::Kind::ublk,
                                  .mode = mode,
                                  .target = target,
                                  .depth = depth,
                                  .block_bytes = block_bytes,
                                  .pattern = pattern});
  if (plan.cells.empty()) return bad_input("nothing to measure", "give at least one --mode");
  std::set<std::string> names;
  if (!external)
    if (auto polled = leave_out_unpollable(options, plan); !polled)
      return std::unexpected(polled.error());
  for (const Cell& cell : plan.cells) {
    if (!names.insert(cell.name()).second)
      return bad_input(std::format("cell '{}' is asked for twice", cell.name()));
    if (auto valid = validate_cell(options, cell); !valid) return std::unexpected(valid.error());
  }
  plan.cells = with_probed_twins(plan.cells, options.probes);
  std::ranges::copy(control_cells(options, plan.cells), std::back_inserter(plan.cells));
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
      std::format("locked-memory limit of {} bytes; the load's registered buffers need {}",
                  static_cast<std::uint64_t>(limit.rlim_cur), needed),
      "raise it (ulimit -l unlimited) or use --no-fixed-bufs");
}

Result<> check_targets(const RunOptions& options) {
  if (!options.device.empty()) {
    const bool direct = options.load.direct;
    auto device = load::open_device(options.device, load::Access::read, direct);
    if (device) return {};
    const bool missing = device.error().errnum == ENOENT;
    return std::unexpected(missing ? device.error().with_exit(ExitCode::usage) : device.error());
  }
  for (const std::string& spec : options.targets) {
    const auto target = make_target(spec);
    if (!target) return std::unexpected(target.error());
    const DeviceShape shape = (*target)->shape();
    for (const std::uint64_t bytes : options.block_bytes) {
      if (bytes % (1U << shape.logical_block_shift) != 0)
        return bad_input(std::format("block size {} on target {}", bytes, spec),
                         std::format("its logical blocks have {} bytes: use a multiple",
                                     1U << shape.logical_block_shift));
      if (bytes > shape.bytes)
        return bad_input(std::format("block size {} is larger than target {}", bytes, spec));
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
  const bool batch = cell.mode.delivery == DeliveryMode::batch;
  serve.depth = batch ? std::max(cell.depth, 2U) : cell.depth;
  serve.partition_scan = false;
  if (cell.mode.buffer != BufferMode::auto_zc) serve.auto_zc_fallback = false;
  if (cell.mode.delivery != DeliveryMode::batch) serve.batch = {};
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
  // Devices that this run made may be written; somebody else's only on request.
  if (cell.kind == Cell::Kind::ublk || cell.target == "null_blk") load.destructive = true;
  return load;
}

std::uint64_t estimated_sample_ns(const RunOptions& options) {
  // Fixed work: a guess of 20 us per I/O, which emulation needs and hardware beats.
  const std::uint64_t work_ns = options.load.runtime_ns != 0
                                    ? options.load.runtime_ns + options.load.warmup_ns
                                    : options.load.ios * 20'000;
  return work_ns + start_stop_ns;
}

}  // namespace ublkbench
