// SPDX-License-Identifier: MIT
#include "analyzers/hardware_gate.hpp"

#include <algorithm>
#include <cstdlib>

#include "bench/base/cpus.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::analyzers {
namespace {

constexpr std::uint64_t ios_for_tail = 10'000;  // fewer leave too little beyond the 99th percentile
constexpr double load_per_cpu_max = 0.25;       // runnable tasks of others before the sitting
constexpr double load_max_min = 0.5;            // where there are few CPUs
constexpr double stolen_max = 0.01;
constexpr double ticks_per_second = 100;  // USER_HZ

std::size_t cpus_of(const Record& record) {
  const auto online = parse_cpu_list(fact_word(record.env, "key_fields.cpu.online").value_or(""));
  return online && !online->empty() ? online->size() : 1;
}

GateRow row_of(const PairedCell& cell, Figure figure, bool gated, const GateOptions& options) {
  const std::vector<double> before = cell.before.values(figure);
  const std::vector<double> now = cell.now.values(figure);
  return {
      .cell = cell.before.id,
      .figure = figure,
      .is_control = cell.is_control(),
      .gated = gated,
      .judgement = judge(before, now, traits(figure).better, hardware_rule(figure, options.change)),
      .flagged = {},
      .waiver = {}};
}

}  // namespace

Rule hardware_rule(Figure figure, std::optional<double> change) {
  Rule rule = default_rule(false);
  if (figure == Figure::p99_ns)
    rule.change = rule.widest = 0.15;
  else if (change)
    rule.change = *change, rule.widest = std::max(rule.widest, *change);
  // A small --threshold asks for a small change: the interval's near end must only be beyond 1.
  if (rule.change < 2 * rule.certain) rule.certain = 0;
  return rule;
}

std::vector<GateRow> judge_pairs(const PairedCell& cell, const GateOptions& options) {
  std::vector<GateRow> rows{row_of(cell, Figure::ns_per_io, true, options)};
  if (cell.is_control()) return rows;
  rows.push_back(row_of(cell, Figure::p99_ns, cell.ios >= ios_for_tail, options));
  for (const Figure figure : {Figure::server_instructions, Figure::load_instructions}) {
    GateRow row = row_of(cell, figure, false, options);
    if (row.judgement.median_a && row.judgement.median_b) rows.push_back(std::move(row));
  }
  if (!rows[1].judgement.median_a && !rows[1].judgement.median_b)
    rows.erase(rows.begin() + 1);  // --no-latency
  return rows;
}

bool is_too_wide(const std::vector<GateRow>& rows, const GateOptions& options) {
  return std::ranges::any_of(rows, [&](const GateRow& row) {
    if (!row.gated || !row.judgement.interval || !row.judgement.ratio) return false;
    const Interval& interval = *row.judgement.interval;
    return (interval.high - interval.low) / 2 / *row.judgement.ratio >
           hardware_rule(row.figure, options.change).widest;
  });
}

bool is_flagged(const std::vector<GateRow>& rows) {
  return std::ranges::any_of(rows, [](const GateRow& row) {
    return row.gated && !row.is_control && row.judgement.verdict == Verdict::worse;
  });
}

std::vector<std::string> unfit(const Record& record) {
  std::vector<std::string> why;
  if (record.counts_instructions())
    why.emplace_back(
        "this machine's clock counts instructions (icount): the path-length gate is for it");
  else if (fact_word(record.env, "key_fields.machine.accelerator") == "tcg")
    why.emplace_back("this machine is emulated: its times are the emulator's");
  const auto load = fact_word(record.env, "noted.load_average");
  const double limit =
      std::max(load_max_min, load_per_cpu_max * static_cast<double>(cpus_of(record)));
  if (load) {
    const double found = std::strtod(load->c_str(), nullptr);
    if (found > limit)
      why.push_back(
          formatted("others use this machine: a load average of {:.2f}, at most {:.2f} for {} CPUs",
                    found, limit, cpus_of(record)));
  }
  return why;
}

std::optional<std::string> disturbed(const Record& first, const Record& last) {
  const auto noted = [](const Record& record, const char* name) {
    return fact_number(record.env, formatted("noted.{}", name));
  };
  const auto begin = noted(first, "stolen_ticks");
  const auto end = noted(last, "stolen_ticks");
  const auto begin_s = noted(first, "captured_unix_s");
  const auto end_s = noted(last, "captured_unix_s");
  if (!begin || !end || !begin_s || !end_s || *end_s <= *begin_s) return std::nullopt;
  const double available =
      (*end_s - *begin_s) * ticks_per_second * static_cast<double>(cpus_of(first));
  const double share = (*end - *begin) / available;
  if (share <= stolen_max) return std::nullopt;
  return formatted("the hypervisor took {:.1f} % of the CPU time away", 100 * share);
}

}  // namespace ublkbench::analyzers
