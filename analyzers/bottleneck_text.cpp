// SPDX-License-Identifier: MIT
// Verdicts on bottlenecks as people and programs read them.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "analyzers/bottleneck.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;

std::string number(Clue clue, double value) {
  return traits(clue).share ? formatted("{:.0f} %", 100 * value) : formatted("{:.2f}", value);
}

std::string_view word_of(Condition::Sense sense) {
  if (sense == Condition::Sense::below) return "below";
  return sense == Condition::Sense::above ? "above" : "from";
}

/// "97 % of an I/O's time in the driver is its target's (from 50 %)"
std::string condition_text(const Condition& condition, const Clues& clues) {
  return formatted("{} {} ({} {})",
                   number(condition.clue, clues.value_of(condition.clue).value_or(0)),
                   traits(condition.clue).meaning, word_of(condition.sense),
                   number(condition.clue, condition.limit));
}

std::string figures_text(const Bottleneck& rule, const Clues& clues) {
  std::string text;
  for (const Condition& condition : rule.conditions)
    text += (text.empty() ? "" : "; ") + condition_text(condition, clues);
  return text;
}

/// "--probe latency, --probe tags": what would bring what is missing, each once.
std::vector<std::string> remedies(const Clues& clues, std::span<const Clue> missing) {
  std::vector<std::string> list;
  for (const Clue clue : missing)
    if (const std::string remedy(clues.missing(clue));
        !remedy.empty() && !std::ranges::contains(list, remedy))
      list.push_back(remedy);
  return list;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::vector<Clue> all_missing(const Diagnosis& diagnosis) {
  std::vector<Clue> missing;
  for (const Unchecked& unchecked : diagnosis.unchecked)
    missing.insert(missing.end(), unchecked.missing.begin(), unchecked.missing.end());
  return missing;
}

std::string headline(const CellDiagnosis& cell) {
  if (cell.verdict == "not_measured")
    return "no verdict: no sample is good" + (cell.reason.empty() ? "" : ": " + cell.reason);
  if (cell.verdict == "samples_disagree") return "no verdict: its samples disagree";
  if (cell.verdict == "none") return "no bottleneck of those that are known";
  if (cell.verdict == "cannot_tell")
    return "no verdict: these records cannot tell; missing: " +
           joined(remedies(cell.diagnosis.clues, all_missing(cell.diagnosis)));
  return std::string(cell.diagnosis.found.front()->title);
}

/// A closed loop has no rate; most machines have no quota.
bool zero_is_no_figure(Clue clue) {
  return clue == Clue::rate_reached || clue == Clue::server_throttled ||
         clue == Clue::server_quota_cpus || clue == Clue::load_throttled ||
         clue == Clue::load_quota_cpus;
}

/// What nothing was found of is shown with all figures, for the reader to judge.
std::string all_figures(const Clues& clues) {
  std::string text;
  for (std::size_t at = 0; at < clue_count; ++at) {
    const auto clue = static_cast<Clue>(at);
    const auto value = clues.value_of(clue);
    if (!value || (*value == 0 && zero_is_no_figure(clue))) continue;
    text += formatted("  {} {}\n", number(clue, *value), traits(clue).meaning);
  }
  return text;
}

std::string cell_text(const CellDiagnosis& cell) {
  const Diagnosis& diagnosis = cell.diagnosis;
  std::string text = formatted("{}: {}", cell.cell, headline(cell));
  if (cell.judged > 1) text += formatted(" ({} of {} samples)", cell.agree, cell.judged);
  text += '\n';
  if (cell.judged == 0 || cell.verdict == "samples_disagree") return text;
  if (cell.probed == "attached")
    text += "  figures of probes are of all the time attached, warm-up included: an older record\n";
  for (const Bottleneck* rule : diagnosis.found) {
    if (rule == diagnosis.found.front())
      text +=
          formatted("  {}\n  try: {}\n", figures_text(*rule, diagnosis.clues), cell.knob_of(*rule));
    else
      text += formatted("  also: {}: {}\n", rule->title, figures_text(*rule, diagnosis.clues));
  }
  if (diagnosis.found.empty()) return text + all_figures(diagnosis.clues);
  if (const auto backlog = diagnosis.clues.value_of(Clue::backlog_ios); backlog && *backlog >= 1)
    text += formatted("  open loop: {} {}\n", number(Clue::backlog_ios, *backlog),
                      traits(Clue::backlog_ios).meaning);
  for (const Unchecked& unchecked : diagnosis.unchecked)
    text += formatted("  not looked at: {} ({})\n", unchecked.rule->name,
                      joined(remedies(diagnosis.clues, unchecked.missing)));
  return text;
}

json rule_json(const Bottleneck& rule, const CellDiagnosis& cell) {
  const Clues& clues = cell.diagnosis.clues;
  json conditions = json::array();
  for (const Condition& condition : rule.conditions)
    conditions.push_back(
        {{"figure", traits(condition.clue).name},
         {"value", clues.value_of(condition.clue).value_or(0)},
         {condition.sense == Condition::Sense::at_least ? "at_least" : word_of(condition.sense),
          condition.limit}});
  return {{"name", rule.name}, {"rests_on", std::move(conditions)}, {"try", cell.knob_of(rule)}};
}

json cell_json(const CellDiagnosis& cell) {
  json figures = json::object();
  json found = json::array();
  json unchecked = json::array();
  for (std::size_t at = 0; at < clue_count; ++at)
    if (const auto value = cell.diagnosis.clues.value_of(static_cast<Clue>(at)))
      figures[clue_traits[at].name] = *value;
  for (const Bottleneck* rule : cell.diagnosis.found) found.push_back(rule_json(*rule, cell));
  for (const Unchecked& rule : cell.diagnosis.unchecked) {
    json missing = json::array();
    for (const Clue clue : rule.missing) missing.push_back(traits(clue).name);
    unchecked.push_back({{"name", rule.rule->name},
                         {"missing", std::move(missing)},
                         {"add", remedies(cell.diagnosis.clues, rule.missing)}});
  }
  json object = {
      {"cell", cell.cell},          {"verdict", cell.verdict},
      {"headline", headline(cell)}, {"samples", {{"judged", cell.judged}, {"agree", cell.agree}}},
      {"probed", cell.probed},      {"figures", std::move(figures)},
      {"found", std::move(found)},  {"not_looked_at", std::move(unchecked)}};
  if (!cell.reason.empty()) object["reason"] = cell.reason;
  return object;
}

}  // namespace

std::string bottleneck_text(std::span<const CellDiagnosis> cells) {
  std::string text;
  for (const CellDiagnosis& cell : cells) text += cell_text(cell);
  return text;
}

std::string bottleneck_document(const Record& record, std::span<const CellDiagnosis> cells) {
  json list = json::array();
  for (const CellDiagnosis& cell : cells) list.push_back(cell_json(cell));
  const json document = {{"schema", "ublkbench.explain/1"},
                         {"record", record.path},
                         {"run", fact_word(record.run, "id").value_or("")},
                         {"cells", std::move(list)}};
  return json_text(document, 1) + '\n';
}

}  // namespace ublkbench::analyzers
