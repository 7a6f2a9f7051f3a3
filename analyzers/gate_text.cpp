// SPDX-License-Identifier: MIT
// The gate's outcome for people and programs.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "analyzers/gate_outcome.hpp"
#include "analyzers/text_table.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;
using Line = std::vector<std::string>;

constexpr const char* absent = "-";

std::string label_of(const GateOutcome& outcome, Figure figure) {
  if (outcome.kind == GateKind::hardware) return std::string(traits(figure).name);
  switch (figure) {
    case Figure::server_instructions:
      return "server";
    case Figure::load_instructions:
      return "load";
    default:
      return "all";
  }
}

std::string verdict_of(const GateOutcome& outcome, const GateRow& row) {
  const bool is_time = outcome.kind == GateKind::hardware;
  if (!row.gated) return "(shown)";
  if (row.waived) return "waived";
  switch (row.judgement.verdict) {
    case Verdict::worse:
      return is_time ? "SLOWER" : "LONGER";
    case Verdict::better:
      return is_time ? "faster" : "shorter";
    case Verdict::unclear:
      return row.flagged ? "not confirmed" : "~";
    default:
      return row.flagged ? "not confirmed" : std::string(name_of(row.judgement.verdict));
  }
}

Line line_of(const GateOutcome& outcome, const GateRow& row) {
  const Judgement& judged = row.judgement;
  const auto whole = [](const std::optional<double>& value) {
    return value ? formatted("{:.0f}", *value) : std::string(absent);
  };
  return {row.cell,
          label_of(outcome, row.figure),
          formatted("{} ({})", whole(judged.median_a), judged.n_a),
          formatted("{} ({})", whole(judged.median_b), judged.n_b),
          judged.ratio ? formatted("{:+.2f} %", 100 * (*judged.ratio - 1)) : absent,
          judged.interval ? formatted("{:+.2f}..{:+.2f} %", 100 * (judged.interval->low - 1),
                                      100 * (judged.interval->high - 1))
                          : absent,
          verdict_of(outcome, row)};
}

TextTable layout(const GateOutcome& outcome) {
  const bool is_time = outcome.kind == GateKind::hardware;
  TextTable table{.columns = {{.title = "cell", .left = true},
                              {.title = is_time ? "figure" : "side", .left = true},
                              {.title = is_time ? "before (n)" : "baseline (n)"},
                              {.title = "now (n)"},
                              {.title = "change"},
                              {.title = "interval"},
                              {.title = "verdict", .left = true}},
                  .rows = {}};
  for (const GateRow& row : outcome.rows) table.rows.push_back(line_of(outcome, row));
  return table;
}

/// What the verdict is about and what it is not about.
std::string preamble(const GateOutcome& outcome) {
  const std::string commit = outcome.now.commit.substr(0, 12);
  if (outcome.kind == GateKind::hardware)
    return formatted(
        "Hardware gate: times of this machine in this sitting, {} pairs of a cell in turns.\n"
        "Before: {} (commit {}). Judged: {} (commit {}).\n"
        "Slower: more than {:.3g} % (p99: 15 %), the {:.0f} % interval beyond {:.3g} %, and again "
        "in fresh pairs.\n",
        outcome.pairs, outcome.before.what, outcome.before.commit.substr(0, 12), outcome.now.what,
        commit, 100 * outcome.rule.change, 100 * outcome.rule.confidence,
        100 * outcome.rule.certain);
  return formatted(
      "Path-length gate: instructions per I/O under icount, not time. It does not see caches, "
      "locks or what rep movs copies.\n"
      "Baseline: commit {}, accepted {} ({}). Judged: commit {}.\n"
      "Longer: more than {:.3g} %, and every sample above every one of the baseline (from 5 on: "
      "the "
      "{:.0f} % interval).\n",
      outcome.before.commit.substr(0, 12), outcome.before.at, outcome.before.reason, commit,
      100 * outcome.rule.change, 100 * outcome.rule.confidence);
}

std::string summary(const GateOutcome& outcome) {
  std::string text = formatted("gate: {}\n", name_of(outcome.verdict));
  for (const std::string& reason : outcome.reasons) text += "  " + reason + "\n";
  text += to_text(outcome.unlike);
  for (const std::string& remark : outcome.remarks) text += "  " + remark + "\n";
  std::size_t improved = 0;
  for (const GateRow& row : outcome.rows)
    if (!row.is_control && row.gated && row.judgement.verdict == Verdict::better) {
      ++improved;
      text += formatted("  improved: {}: {} {:+.2f} %\n", row.cell, traits(row.figure).name,
                        100 * (*row.judgement.ratio - 1));
    }
  for (const GateRow& row : outcome.rows)
    if (row.flagged && row.judgement.verdict != Verdict::worse)
      text += formatted("  not confirmed: {}: {} {:+.2f} % at first, {:+.2f} % in fresh pairs\n",
                        row.cell, traits(row.figure).name, 100 * (*row.flagged->ratio - 1),
                        100 * (row.judgement.ratio.value_or(1) - 1));
  if (improved != 0 && outcome.verdict == GateVerdict::pass &&
      outcome.kind == GateKind::path_length)
    text += "  the baseline can be tightened: 'ublkbench baseline accept'\n";
  for (const std::string& cell : outcome.new_cells)
    text += formatted("  not in the baseline: {}\n", cell);
  return text;
}

json number(const std::optional<double>& value) { return value ? json(*value) : json(); }

}  // namespace

std::string gate_text(const GateOutcome& outcome) {
  const std::string table = outcome.rows.empty() ? "" : "\n" + layout(outcome).aligned() + "\n";
  return preamble(outcome) + table + summary(outcome);
}

std::string gate_markdown(const GateOutcome& outcome) {
  const std::string text = formatted("**Gate ({}): {}**\n\n```\n{}{}```\n", name_of(outcome.kind),
                                     name_of(outcome.verdict), preamble(outcome), summary(outcome));
  return outcome.rows.empty() ? text : text + "\n" + layout(outcome).markdown();
}

std::string gate_document(const GateOutcome& outcome) {
  const auto side = [](const GateSide& of) {
    return json{{"what", of.what}, {"commit", of.commit}, {"at", of.at}, {"reason", of.reason}};
  };
  json document = {{"schema", "ublkbench.gate/2"},
                   {"gate", name_of(outcome.kind)},
                   {"verdict", name_of(outcome.verdict)},
                   {"exit_code", static_cast<int>(exit_of(outcome.verdict))},
                   {"reasons", outcome.reasons},
                   {"before", side(outcome.before)},
                   {"now", side(outcome.now)},
                   {"new_cells", outcome.new_cells},
                   {"remarks", outcome.remarks},
                   {"rows", json::array()},
                   {"unlike", json::array()}};
  for (const GateRow& row : outcome.rows) {
    const Judgement& judged = row.judgement;
    document["rows"].push_back(
        {{"cell", row.cell},
         {"figure", traits(row.figure).name},
         {"unit", traits(row.figure).unit},
         {"control", row.is_control},
         {"gated", row.gated},
         {"before", {{"n", judged.n_a}, {"median", number(judged.median_a)}}},
         {"now", {{"n", judged.n_b}, {"median", number(judged.median_b)}}},
         {"ratio", number(judged.ratio)},
         {"low", judged.interval ? json(judged.interval->low) : json()},
         {"high", judged.interval ? json(judged.interval->high) : json()},
         {"verdict", name_of(judged.verdict)},
         {"flagged_ratio", row.flagged ? number(row.flagged->ratio) : json()},
         {"waived", row.waived}});
  }
  for (const FieldDifference& field : outcome.unlike)
    document["unlike"].push_back(
        {{"field", field.field}, {"before", field.a}, {"now", field.b}, {"cells", field.where}});
  return json_text(document, 1) + '\n';
}

}  // namespace ublkbench::analyzers
