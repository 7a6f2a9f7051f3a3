// SPDX-License-Identifier: MIT
// The gate's outcome for people and programs.
#include <algorithm>
#include <format>

#include "analyzers/path_gate.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;
using Line = std::vector<std::string>;

constexpr const char* absent = "-";

std::string side_of(Figure figure) {
  switch (figure) {
    case Figure::server_instructions:
      return "server";
    case Figure::load_instructions:
      return "load";
    default:
      return "all";
  }
}

std::string verdict_of(const GateRow& row) {
  if (row.waived) return "waived";
  switch (row.judgement.verdict) {
    case Verdict::worse:
      return "LONGER";
    case Verdict::better:
      return "shorter";
    case Verdict::unclear:
      return "~";
    default:
      return std::string(name_of(row.judgement.verdict));
  }
}

Line line_of(const GateRow& row) {
  const Judgement& judged = row.judgement;
  const auto whole = [](const std::optional<double>& value) {
    return value ? std::format("{:.0f}", *value) : std::string(absent);
  };
  return {row.cell,
          side_of(row.figure),
          std::format("{} ({})", whole(judged.median_a), judged.n_a),
          std::format("{} ({})", whole(judged.median_b), judged.n_b),
          judged.ratio ? std::format("{:+.2f} %", 100 * (*judged.ratio - 1)) : absent,
          judged.interval ? std::format("{:+.2f}..{:+.2f} %", 100 * (judged.interval->low - 1),
                                        100 * (judged.interval->high - 1))
                          : absent,
          verdict_of(row)};
}

std::vector<Line> lines_of(const GateOutcome& outcome) {
  std::vector<Line> lines{
      {"cell", "side", "baseline (n)", "now (n)", "change", "interval", "verdict"}};
  for (const GateRow& row : outcome.rows) lines.push_back(line_of(row));
  return lines;
}

/// What the verdict is about and what it is not about.
std::string preamble(const GateOutcome& outcome) {
  return std::format(
      "Path-length gate: instructions per I/O under icount, not time. It does not see caches, "
      "locks or what rep movs copies.\n"
      "Baseline: commit {}, accepted {} ({}). Judged: commit {}.\n"
      "Longer: more than {:.3g} %, and every sample above every one of the baseline (from 5 on: "
      "the "
      "{:.0f} % interval).\n",
      outcome.baseline.commit.substr(0, 12), outcome.baseline.at, outcome.baseline.reason,
      outcome.commit.substr(0, 12), 100 * outcome.rule.change, 100 * outcome.rule.confidence);
}

std::string summary(const GateOutcome& outcome) {
  std::string text = std::format("gate: {}\n", name_of(outcome.verdict));
  for (const std::string& reason : outcome.reasons) text += "  " + reason + "\n";
  text += to_text(outcome.unlike);
  std::size_t improved = 0;
  for (const GateRow& row : outcome.rows)
    if (!row.is_control && row.judgement.verdict == Verdict::better) {
      ++improved;
      text += std::format("  improved: {}: {} {:+.2f} %\n", row.cell, traits(row.figure).name,
                          100 * (*row.judgement.ratio - 1));
    }
  if (improved != 0 && outcome.verdict == GateVerdict::pass)
    text += "  the baseline can be tightened: 'ublkbench baseline accept'\n";
  for (const std::string& cell : outcome.new_cells)
    text += std::format("  not in the baseline: {}\n", cell);
  return text;
}

json number(const std::optional<double>& value) { return value ? json(*value) : json(); }

}  // namespace

std::string gate_text(const GateOutcome& outcome) {
  std::string text = preamble(outcome);
  if (!outcome.rows.empty()) {
    const std::vector<Line> lines = lines_of(outcome);
    std::vector<std::size_t> widths(lines.front().size());
    for (const Line& line : lines)
      for (std::size_t at = 0; at < line.size(); ++at)
        widths[at] = std::max(widths[at], line[at].size());
    text += "\n";
    for (const Line& line : lines) {
      for (std::size_t at = 0; at < line.size(); ++at)
        text += at < 2 ? std::format("{:<{}}  ", line[at], widths[at])
                       : std::format("{:>{}}  ", line[at], widths[at]);
      text.erase(text.find_last_not_of(' ') + 1);
      text += "\n";
    }
    text += "\n";
  }
  return text + summary(outcome);
}

std::string gate_markdown(const GateOutcome& outcome) {
  std::string text = std::format("**Path-length gate: {}**\n\n```\n{}{}```\n",
                                 name_of(outcome.verdict), preamble(outcome), summary(outcome));
  if (outcome.rows.empty()) return text;
  text += "\n";
  const std::vector<Line> lines = lines_of(outcome);
  for (const Line& line : lines) {
    for (const std::string& field : line) text += "| " + field + ' ';
    text += "|\n";
    if (&line == &lines.front()) text += "|:--|:--|--:|--:|--:|--:|:--|\n";
  }
  return text;
}

json gate_json(const GateOutcome& outcome) {
  json document = {{"schema", "ublkbench.gate/1"},
                   {"verdict", name_of(outcome.verdict)},
                   {"exit_code", static_cast<int>(exit_of(outcome.verdict))},
                   {"reasons", outcome.reasons},
                   {"unit", "instructions per I/O"},
                   {"baseline",
                    {{"commit", outcome.baseline.commit},
                     {"at", outcome.baseline.at},
                     {"reason", outcome.baseline.reason}}},
                   {"commit", outcome.commit},
                   {"new_cells", outcome.new_cells},
                   {"rows", json::array()},
                   {"unlike", json::array()}};
  for (const GateRow& row : outcome.rows) {
    const Judgement& judged = row.judgement;
    document["rows"].push_back(
        {{"cell", row.cell},
         {"figure", traits(row.figure).name},
         {"control", row.is_control},
         {"baseline", {{"n", judged.n_a}, {"median", number(judged.median_a)}}},
         {"now", {{"n", judged.n_b}, {"median", number(judged.median_b)}}},
         {"ratio", number(judged.ratio)},
         {"low", judged.interval ? json(judged.interval->low) : json()},
         {"high", judged.interval ? json(judged.interval->high) : json()},
         {"verdict", name_of(judged.verdict)},
         {"waived", row.waived}});
  }
  for (const FieldDifference& field : outcome.unlike)
    document["unlike"].push_back({{"field", field.field}, {"baseline", field.a}, {"now", field.b}});
  return document;
}

}  // namespace ublkbench::analyzers
