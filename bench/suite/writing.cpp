// SPDX-License-Identifier: MIT
#include "bench/suite/writing.hpp"

#include <set>

#include "bench/base/fd.hpp"
#include "bench/base/format.hpp"
#include "bench/targets/target.hpp"
#include "bench/targets/written_extents.hpp"

namespace ublkbench {
namespace {

constexpr std::string_view allow = "allow it with --destructive";

std::string subject(const Cell& cell) {
  return cell.kind == Cell::Kind::ublk ? "target " + cell.target : cell.target;
}

}  // namespace

Result<CellData> data_of_target(const std::string& spec) {
  const auto target = make_target(spec, look_only);
  if (!target) return std::unexpected(target.error());
  return CellData{.owner = (*target)->data_owner(),
                  .read_only = (*target)->shape().read_only,
                  .paths = (*target)->paths()};
}

CellData data_of_device(const std::string& path) {
  // The null_blk device is made for each sample and stores nothing.
  if (path == "null_blk") return {.owner = DataOwner::none, .read_only = false, .paths = {}};
  return {.owner = DataOwner::user, .read_only = false, .paths = {path}};
}

bool may_write(const RunOptions& options, const Cell& cell) {
  if (cell.data.read_only) return false;
  return cell.data.owner != DataOwner::user || options.load.destructive;
}

Result<> check_writes(const RunOptions& options, const Cell& cell) {
  if (may_write(options, cell)) return {};
  const bool verifies = options.verify == VerifyPolicy::on && cell.kind != Cell::Kind::control;
  if (!load::writes(cell.pattern) && !verifies) return {};
  const std::string what = load::writes(cell.pattern)
                               ? formatted("'{}'", load::name_of(cell.pattern))
                               : std::string("--verify on");
  if (cell.data.read_only)
    return bad_input(formatted("{} writes, and {} is read-only", what, subject(cell)));
  return bad_input(formatted("{} overwrites {}, which this run did not make", what, subject(cell)),
                   allow);
}

std::string not_verified(const RunOptions& options, const Cell& cell) {
  if (cell.kind == Cell::Kind::control) return "-";
  // What somebody else serves is verified only where that was asked for.
  if (cell.kind == Cell::Kind::external && options.verify != VerifyPolicy::on) return "-";
  if (options.verify == VerifyPolicy::off) return "off";
  if (cell.data.read_only) return "read-only";
  return may_write(options, cell) ? "" : "needs --destructive";
}

std::vector<std::string> targets_with_holes(const Plan& plan) {
  std::set<std::string> found;
  for (const Cell& cell : plan.cells)
    if (const auto written = written_of(cell.data.paths);
        written && written->written_bytes < written->bytes)
      found.insert(cell.target);
  return {found.begin(), found.end()};
}

std::string writes_in_words(const RunOptions& options, const Cell& cell) {
  constexpr std::string_view owners[] = {"which stores nothing", "made by this run",
                                         "NOT made by this run"};
  const bool verifies = not_verified(options, cell).empty();
  const bool loads = load::writes(cell.pattern);
  if (!verifies && !loads) {
    const std::string why = not_verified(options, cell);
    return why == "-" ? "only reads" : formatted("only reads; not verified: {}", why);
  }
  return formatted("{} {}, {}",
                   verifies && loads ? "verification and load write to"
                   : loads           ? "the load writes to"
                                     : "verification writes to",
                   cell.target, owners[static_cast<int>(cell.data.owner)]);
}

}  // namespace ublkbench
